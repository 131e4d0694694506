"""Fine-tuning in other trainers: callbacks that only forward to a `Tuning`.

Each needs its library, so each is imported by itself: `gps_seg.integrations.lightning`,
`gps_seg.integrations.transformers`.
"""

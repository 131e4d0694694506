"""GPS-Seg: fine-tune a segmentation model by moving the few weights that matter for its task."""

__version__ = '0.1.0.dev0'

"""Experiments of papers that compare no scores: what suites measure with, and pictures."""

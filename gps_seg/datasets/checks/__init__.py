"""What `gps-seg check` looks for in images, and in their masks or labels."""

from gps_seg.datasets.checks.class_images import (
    ClassCounts,
    ClassSurvey,
    class_counts,
    class_findings,
    find_class_images,
)
from gps_seg.datasets.checks.duplicates import duplicate_findings
from gps_seg.datasets.checks.folders import Survey, find_jobs, overlap_findings
from gps_seg.datasets.checks.page import write_class_page, write_page
from gps_seg.datasets.checks.quick import quick_class_findings, quick_findings
from gps_seg.datasets.checks.record import (
    Job,
    Record,
    examine,
    examine_image,
    examine_pixels,
    header_size,
)
from gps_seg.datasets.checks.rules import Totals, record_findings, totals_of

__all__ = [
    'ClassCounts',
    'ClassSurvey',
    'Job',
    'Record',
    'Survey',
    'Totals',
    'class_counts',
    'class_findings',
    'duplicate_findings',
    'examine',
    'examine_image',
    'examine_pixels',
    'find_class_images',
    'find_jobs',
    'header_size',
    'overlap_findings',
    'quick_class_findings',
    'quick_findings',
    'record_findings',
    'totals_of',
    'write_class_page',
    'write_page',
]

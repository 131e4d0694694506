"""What `gps-seg check` looks for in images and masks."""

from gps_seg.datasets.checks.duplicates import duplicate_findings
from gps_seg.datasets.checks.folders import Survey, find_jobs, overlap_findings
from gps_seg.datasets.checks.page import write_page
from gps_seg.datasets.checks.quick import quick_findings
from gps_seg.datasets.checks.record import Job, Record, examine, header_size
from gps_seg.datasets.checks.rules import Totals, record_findings, totals_of

__all__ = [
    'Job',
    'Record',
    'Survey',
    'Totals',
    'duplicate_findings',
    'examine',
    'find_jobs',
    'header_size',
    'overlap_findings',
    'quick_findings',
    'record_findings',
    'totals_of',
    'write_page',
]

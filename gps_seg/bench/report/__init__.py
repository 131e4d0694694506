"""What suites found: one database, tables, and a page that says who wins, and at what cost.

suite_folder.py reads what `gps-seg bench run` left; database.py keeps it in SQLite, from where
summary.py, with ties.py, makes rows and verdicts; words.py says them in sentences; tables.py lays
them out; markdown.py, csv_file.py, latex.py and page.py write them; write.py does it all.
"""

from gps_seg.bench.report.write import write_report

__all__ = ['write_report']

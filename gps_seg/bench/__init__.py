"""Comparisons made by one command: a suite is a file, a cell one training, a report its tables.

suite.py says what is compared; cells.py what a cell is; search.py which cells tune a setting;
board.py what is done and what comes next; claims.py who does it; work.py does it; running.py hands
the cells to workers on one machine, cluster.py to those of a cluster.
"""

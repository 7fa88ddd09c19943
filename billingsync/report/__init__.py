"""A plan or a run as text, JSON, CSV, HTML, XLSX and Markdown: rendering only, no decision and no I/O.

Every module takes the values of `billingsync.core.plan` (or `result.py`) and gives text, bytes or a document. People
see localised amounts (`figures.py`); data formats never do. Text that others wrote is made inert in `foreign.py`.
"""

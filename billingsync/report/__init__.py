"""A plan or a run as text, JSON, CSV, HTML, XLSX and Markdown: rendering only, no decision and no I/O.

Every module takes the values of `core.bill.plan` (or `result.py`) and returns text, bytes or a document. People
see localised amounts (`numbers.py`); data formats never do. Text that others wrote is made inert in `escape.py`.
"""

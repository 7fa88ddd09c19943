"""A reconciliation for people and programs: text, JSON, CSV, HTML, XLSX, Markdown. Rendering only."""

"""Rules that many months share."""

from __future__ import annotations

BASE = """[products]
lifecycle = "off"
[limits]
change_percent_max = 100000
missing_company_percent_max = 100
[clients]
guessed = "post"
"""
RECURRING = """[client]
halo_client = 214
[invoice]
behavior = "recurring"
recurring_invoice = 201
"""

OPEN = (
    '[products]\nlifecycle = "off"\n'
    '[limits]\nchange_percent_max = 100000\nmissing_company_percent_max = 100\nnegative_invoice = "post"\n'
    '[clients]\nguessed = "post"\n'
)

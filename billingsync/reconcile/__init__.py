"""Carrying out a reconciliation: both sides read at one time, compared by `core.reconcile`."""

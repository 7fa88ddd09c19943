"""Prove, years later, what was billed and why: `export` a month, `verify` that nothing recorded was altered."""

from billingsync.audit.check import Problem, Verdict, verify
from billingsync.audit.folder import export
from billingsync.audit.rules import keep_rules

__all__ = ["Problem", "Verdict", "export", "keep_rules", "verify"]

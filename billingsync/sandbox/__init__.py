"""An emulated Pax8 and HaloPSA over real HTTP on loopback, made from the vendors' documents, faults included.

It imports nothing from the rest of billingsync: what it computes is an independent opinion.
"""

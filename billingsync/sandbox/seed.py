"""Sows both services with one believable month, from one seed."""

from __future__ import annotations

import gc

from billingsync.sandbox import cast, seed_halo, seed_pax8, seed_seats
from billingsync.sandbox.halo import Halo
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8


def sow(pax8: Pax8, halo: Halo, options: SandboxOptions) -> None:
    members = cast.members(options.seed, options.clients, trouble=options.trouble)
    # hundreds of thousands of small objects that all stay: looking for garbage among them costs more than making them
    collecting = gc.isenabled()
    gc.disable()
    try:
        seed_pax8.sow(pax8, options, members)
        seed_halo.sow(halo, options, members)
        if options.hand_kept:
            seed_seats.sow(halo, pax8, options, members)
    finally:
        if collecting:
            gc.enable()

"""The unit under a real systemd: start, sandbox, credentials, kill -9, watchdog, clean stop, missing credential.

Takes half a minute, so that it runs with --long, or where BILLINGSYNC_BOOT=1 says so (CI). Where the machine cannot, it
says so loudly; with BILLINGSYNC_BOOT=1 that is a failure, so that green never means "not looked at".
"""

from __future__ import annotations

import os
import shutil
import site
import sys
import warnings
from pathlib import Path

import pytest
from boot import booted, why_not

ROOT = Path(__file__).resolve().parents[2]
MUST = os.environ.get("BILLINGSYNC_BOOT") == "1"


def _prepare(layer: Path) -> None:
    """The overlay's content: the program where the unit expects it, the unit, and what runs inside."""
    program = layer / "opt/billingsync/bin/billingsync"
    program.parent.mkdir(parents=True)
    # Its library is else looked for where this Python was built, perhaps below /root, which the unit cannot see.
    path = "LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/billingsync/source:/opt/billingsync/site"
    program.write_text(f'#!/bin/sh\n{path} exec /opt/python/bin/python3 -m billingsync "$@"\n')
    program.chmod(0o755)
    for name in ("opt/python", "opt/billingsync/site", "opt/billingsync/source", "opt/billingsync/tests"):
        (layer / name).mkdir(parents=True)
    units = layer / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in ("billingsync.service", "billingsync-backup.service", "billingsync-backup.timer"):
        shutil.copy(ROOT / "deploy" / name, units)
    wrapper = layer / "usr/local/sbin/billingsync"
    wrapper.parent.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/billingsync", wrapper)


def test_the_unit_under_a_real_systemd(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not (MUST or request.config.getoption("--long")):
        pytest.skip("a real boot takes half a minute: give --long or BILLINGSYNC_BOOT=1")
    if problem := why_not():
        if MUST:
            pytest.fail(f"THE UNIT WAS NOT BOOTED: {problem}")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            print(f"THE UNIT WAS NOT BOOTED: {problem}", file=sys.__stderr__)
        pytest.skip(f"THE UNIT WAS NOT BOOTED: {problem}")
    source = tmp_path / "source"
    shutil.copytree(ROOT / "billingsync", source / "billingsync", ignore=shutil.ignore_patterns("__pycache__"))
    binds = {
        Path(sys.base_prefix): "/opt/python",
        Path(site.getsitepackages()[0]): "/opt/billingsync/site",
        source: "/opt/billingsync/source",
        Path(__file__).parent: "/opt/billingsync/tests",
    }
    with booted(tmp_path, _prepare, binds) as container:
        done = container.run(["/opt/python/bin/python3", "/opt/billingsync/tests/inside.py"])
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

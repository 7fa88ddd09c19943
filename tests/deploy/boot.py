"""Boots a real systemd on this machine's own files, in a container that leaves nothing behind.

Root only. The machine's tree is the lower layer of an overlay whose upper layer lies in memory, in a mount namespace of
its own: what the container writes is gone with it. systemd-nspawn (package systemd-container) does the booting.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

BOOT_S = 60.0


class NoBoot(Exception):
    """The container did not come up; the text is what it said."""


def why_not() -> str:
    """Why a boot is impossible here; "" where it is possible."""
    if os.geteuid() != 0:
        return "not root"
    missing = [name for name in ("systemd-nspawn", "nsenter", "unshare") if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)} (apt-get install systemd-container)"
    # Root in a container may be root in name only.
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, timeout=20, check=False
    )
    return "this root may not mount anything" if probe.returncode else ""


@contextmanager
def booted(folder: Path, prepare: Callable[[Path], None], binds: Mapping[Path, str]) -> Iterator[Container]:
    """A running container. `prepare` gets a folder whose content is laid over the tree; `binds` are directories of
    this machine -> where they are seen, read-only."""
    for name in ("memory", "layer", "root"):
        (folder / name).mkdir()
    prepare(folder / "layer")
    log = (folder / "console").open("w+b")
    groups = list(_cgroups(f"billingsync-{os.getpid()}"))
    try:
        outer = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", _script(folder, binds)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: [(group / "cgroup.procs").write_text("0") for group in groups],
        )
        container = Container(outer, folder / "console")
        try:
            container.wait_until_up()
            yield container
        finally:
            container.power_off()
    finally:
        log.close()
        for group in groups:
            _remove(group)


def _cgroups(name: str) -> Iterator[Path]:
    """A group of the container's own in each hierarchy that systemd uses: else it would make its own at the root."""
    tree = Path("/sys/fs/cgroup")
    hierarchies = [path for path in (tree / "unified", tree / "systemd") if path.is_dir()] or [tree]
    for hierarchy in hierarchies:
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        yield group


def _remove(group: Path) -> None:
    for path, folders, _ in os.walk(group, topdown=False):
        for name in folders:
            _rmdir(Path(path) / name)
    _rmdir(group)


def _rmdir(path: Path) -> None:
    for _ in range(50):  # a group is busy until its last process has been reaped
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return


def _script(folder: Path, binds: Mapping[Path, str]) -> str:
    """What makes the tree and becomes systemd-nspawn. /run is memory too: nspawn keeps its own things there."""
    words = [f"--bind-ro={source}:{target}" for source, target in binds.items()]
    return f"""
        mount --make-rprivate /
        mount -t tmpfs tmpfs /run
        cd {folder}
        mount -t tmpfs tmpfs memory
        mkdir memory/upper memory/work
        cp -a layer/. memory/upper/
        : > memory/upper/etc/machine-id
        mount -t overlay overlay -o lowerdir=/,upperdir=memory/upper,workdir=memory/work root
        exec systemd-nspawn --quiet --directory=root --machine=billingsync{os.getpid()} --register=no --keep-unit \\
          --private-network --link-journal=no --console=pipe {" ".join(words)} --boot systemd.unit=basic.target
    """


class Container:
    """What runs inside is reached through the namespaces of its first process."""

    def __init__(self, outer: subprocess.Popen[bytes], console: Path) -> None:
        self._outer, self._console = outer, console
        self._first = 0

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline and self._outer.poll() is None:
            self._first = self._first_process()
            if self._first:
                state = self.run(["systemctl", "is-system-running"], timeout=10).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise NoBoot(f"systemd did not come up:\n{self._console.read_text(errors='replace')}")

    def _first_process(self) -> int:
        """The process that is number 1 in there, seen from here; 0 where there is none yet."""
        here = os.readlink("/proc/self/ns/pid")
        try:
            children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
            return next((int(pid) for pid in children if os.readlink(f"/proc/{pid}/ns/pid") != here), 0)
        except OSError:
            return 0

    def run(self, words: Sequence[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A program inside, as root."""
        whole = ["nsenter", f"--target={self._first}", "--all", "--wd=/", *words]
        try:
            return subprocess.run(
                whole, capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
                stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(whole, 124, str(late.stdout or ""), str(late.stderr or "timeout"))

    def power_off(self) -> None:
        if self._first:
            self.run(["systemctl", "poweroff"], timeout=10)
        try:
            self._outer.wait(20)
        except subprocess.TimeoutExpired:
            # Killing nspawn alone would leave what it started: its first process takes everything with it.
            for pid in filter(None, (self._first, self._outer.pid)):
                os.kill(pid, signal.SIGKILL)
            self._outer.wait(10)


if __name__ == "__main__":
    print(why_not())

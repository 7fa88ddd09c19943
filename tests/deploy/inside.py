"""Runs inside the booted container: the unit from start to stop, with every way of dying in between.

Prints one line a check; exits 1 at the first that fails. Only the standard library: it is no part of the package.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

UNIT = "billingsync.service"
PROGRAM = "/opt/billingsync/bin/billingsync"
ETC = Path("/etc/billingsync")
SECRETS = ETC / "secrets"
DROP_IN = Path(f"/run/systemd/system/{UNIT}.d")


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return (done.stdout + done.stderr).strip()


def show(name: str) -> str:
    return run("systemctl", "show", UNIT, "--value", "-p", name)


def journal() -> str:
    return run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")


def check(name: str, right: object, detail: object = "") -> None:
    print("ok  " if right else "BAD ", name, "" if right else f"-- {detail}", flush=True)
    if not right:
        names = "ActiveState,SubState,NRestarts,Result,ExecMainStatus,ExecMainCode,StatusText"
        print(run("systemctl", "show", UNIT, "-p", names))
        print(journal()[-6000:])
        sys.exit(1)


def until(right: Callable[[], object], seconds: float = 40) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if right():
            return True
        time.sleep(0.1)
    return False


def active() -> bool:
    return show("ActiveState") == "active"


def get(path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", 8790, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def install() -> list[str]:
    """What install.md says; gives the secrets, which must not be seen anywhere."""
    month = time.strftime("%Y-%m", time.gmtime())
    words = [PROGRAM, "sandbox", "--clients", "2", "--month", month, "--port", "8791", "--json"]
    with open("/run/sandbox.json", "wb") as out:
        subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL, cwd="/run")
    check("the sandbox serves", until(lambda: Path("/run/sandbox.json").read_text().strip().endswith("}")))
    environment = json.loads(Path("/run/sandbox.json").read_text())["environment"]
    secrets = {name: value for name, value in environment.items() if name.endswith("SECRET")}
    SECRETS.mkdir(parents=True, mode=0o700)
    for name, value in secrets.items():
        path = SECRETS / name.removeprefix("BILLINGSYNC_").replace("__", "_").lower()
        path.write_text(value + "\n")
        path.chmod(0o600)
    plain = {name: value for name, value in environment.items() if name not in secrets}
    plain |= {"BILLINGSYNC_POLL__FROM_DAY": "1", "BILLINGSYNC_RETRY__FIRST_WAIT_S": "0.1"}
    (ETC / "env").write_text("".join(f"{name}={value}\n" for name, value in plain.items()))
    (ETC / "env").chmod(0o600)
    rules = ETC / "rules"
    rules.mkdir()
    (rules / "defaults.toml").write_text('[approval]\nauto_post = "within_limits"\n[products]\nlifecycle = "off"\n')
    run("systemctl", "daemon-reload")
    return list(secrets.values())


def main() -> None:
    secrets = install()

    began = time.monotonic()
    started = run("systemctl", "start", UNIT)
    check(f"systemctl start returns after READY ({time.monotonic() - began:.1f} s)", active(), started)
    check("a month was billed", until(lambda: "cycle ended" in journal()) and '"about": "posted"' in journal())
    check("STATUS arrives", until(lambda: show("StatusText").startswith("waiting until ")))

    pid = show("MainPID")
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    uid = int(status["Uid"].split()[0])
    check(f"a user of its own ({uid})", 61184 <= uid <= 65519)
    check("no capabilities", int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0)
    check("no new privileges, system calls filtered", (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"))
    root = Path(f"/proc/{pid}/root")
    state = root / "var/lib/private/billingsync"
    check("the state is its own alone", oct(state.stat().st_mode & 0o777) == "0o700" and state.stat().st_uid == uid)
    files = {path.name: oct(path.stat().st_mode & 0o777) for path in state.iterdir() if path.is_file()}
    check("so is every file in it", files and set(files.values()) <= {"0o600"}, files)
    credentials = root / "run/credentials" / UNIT
    loaded = Path(f"/etc/systemd/system/{UNIT}").read_text().count("\nLoadCredential=")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in credentials.iterdir()}
    check("the credentials are readable for it alone", set(modes.values()) == {"0o400"} and len(modes) == loaded, modes)
    inside = ["nsenter", "-t", pid, "-m", "--", "sh", "-c"]
    for path in ("/etc/x", "/usr/x", "/opt/x", "/var/lib/x", "/root/x"):
        check(f"{path} cannot be written", subprocess.run([*inside, f": > {path}"], capture_output=True).returncode)
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
    check("no secret in its environment", not any(secret in environment for secret in secrets))
    check("/healthz", get("/healthz") == 200)
    check("/readyz", get("/readyz") == 200)
    check("/metrics", get("/metrics") == 200)

    cycles = journal().count("cycle ended")
    run("systemctl", "reload", UNIT)
    check("reload looks now", until(lambda: journal().count("cycle ended") > cycles))

    for command, key in (("status", "next_cycle"), ("doctor", "checks")):  # the sandbox's month has holds, and traps
        words = ["/usr/local/sbin/billingsync", command, "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        right = done.returncode in (0, 1, 3) and key in json.loads(done.stdout or "{}")
        check(f"{command} beside the service, by the wrapper", right, done.stdout + done.stderr)
    for _ in range(2):
        done_ = run("systemctl", "start", "billingsync-backup.service")
        time.sleep(1.1)  # names are made of seconds
    copies = sorted(Path("/var/lib/private/billingsync/backup").glob("*.db"))
    check("the backup service makes dated copies", len(copies) == 2 and "T" in copies[0].name, done_)
    check("for its own user and group alone", {oct(one.stat().st_mode & 0o007) for one in copies} == {"0o0"}, copies)
    run("systemctl", "start", "billingsync-backup.timer")
    check("and its timer waits", "billingsync-backup" in run("systemctl", "list-timers", "--no-pager"))

    DROP_IN.mkdir(parents=True)
    (DROP_IN / "quick.conf").write_text("[Service]\nRestartSec=1\nWatchdogSec=4\nTimeoutAbortSec=2\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    check("restarted by hand", active())
    os.kill(int(show("MainPID")), 9)
    check("kill -9: up again", until(lambda: show("NRestarts") == "1" and active()))
    os.kill(int(show("MainPID")), 19)  # SIGSTOP: it lives, and does not move
    check("frozen: the watchdog ends it, and it is up again", until(lambda: show("NRestarts") == "2" and active()))
    check("the journal says why", "Watchdog timeout" in journal())
    check(
        "and it bills nothing twice", until(lambda: "waiting" in show("StatusText")) and journal().count(": run ") == 1
    )

    began = time.monotonic()
    run("systemctl", "stop", UNIT)
    check(
        f"clean stop ({time.monotonic() - began:.1f} s)", (show("Result"), show("ExecMainStatus")) == ("success", "0")
    )
    check("STOPPING was said", "stopped cleanly" in journal())

    missing = SECRETS / "halo_client_secret"
    missing.rename(SECRETS / "gone")
    run("systemctl", "start", UNIT)
    until(lambda: show("ActiveState") == "failed", 10)
    check("missing credential: 243, and not tried again and again",
          (show("ExecMainStatus"), show("ActiveState")) == ("243", "failed"))  # fmt: skip
    (SECRETS / "gone").rename(missing)
    run("systemctl", "reset-failed", UNIT)

    with (ETC / "env").open("a") as env:
        env.write("BILLINGSYNC_TIMEZONE=Europe/Berlyn\n")
    run("systemctl", "start", UNIT)
    until(lambda: show("ActiveState") == "failed", 20)
    check("wrong setting: 2, named, not restarted", show("ExecMainStatus") == "2" and "Europe/Berlin?" in journal())

    written = journal()
    check("no secret in the journal", not any(secret in written for secret in secrets))
    database = b"".join(path.read_bytes() for path in Path("/var/lib/private/billingsync").iterdir() if path.is_file())
    check("no secret in the database", not any(secret.encode() in database for secret in secrets))
    verdict = run("systemd-analyze", "security", "--no-pager", UNIT).splitlines()[-1]
    print("ok  ", verdict.split(": ", 1)[-1])


if __name__ == "__main__":
    main()

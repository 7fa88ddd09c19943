"""One partner's secrets, from the first place that `fleet.toml` sets: a folder of files, or a program. Read by whoever
works for that partner, when it does. No message holds a secret, nor what the program printed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess  # nosec B404 - the bureau's own program, by its whole path
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from select import POLLERR, POLLHUP, POLLIN, poll
from typing import IO, Any

from pydantic import SecretStr, ValidationError

from billingsync.errors import SecretsError
from billingsync.fleet.fleet_file import SecretPlaces
from billingsync.fleet.partner_file import FleetPartner, is_secret
from billingsync.settings import PREFIX, variables
from billingsync.settings.load import MANY_LINES
from billingsync.settings.mistakes import mistakes
from billingsync.settings.places import MAX_BYTES, Places
from billingsync.settings.values import nearest, printable

COMMAND_S = 10.0  # seconds; a cycle waits for it, and a vault that is well answers in one


def with_secrets(partner: FleetPartner, places: SecretPlaces, *, command_s: float = COMMAND_S) -> FleetPartner:
    """The partner with its secrets. SecretsError with every mistake where one is missing or wrong."""
    where, values = _from_first(places, partner.partner, command_s)
    known = _allowed()
    problems = []
    groups: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        if name not in known:
            guess = nearest(name, list(known))
            hint = f"; did you mean {guess}?" if guess else ""
            problems.append(f"{where}: {printable(name)} is no secret of a partner{hint}")
        elif name not in MANY_LINES and not value.isprintable():
            problems.append(f"{where}: {name} holds a line end or another invisible character")
        else:
            group, key = known[name]
            groups.setdefault(group, {})[key] = value
    found = {}
    for group, given in groups.items():
        before = getattr(partner, group)
        try:
            said = {key: getattr(before, key) for key in before.model_fields_set}
            found[group] = type(before).model_validate({**said, **given})
        except ValidationError as wrong:
            problems += [f"{where}: {_variable(group, mistake.path)} {mistake.says}" for mistake in mistakes(wrong)]
    whole = partner.model_copy(update=found)
    problems += [f"{where}: {name} is missing" for name in _missing(whole) if name not in values]
    if problems:
        raise SecretsError(problems)
    return whole


def _from_first(places: SecretPlaces, name: str, command_s: float) -> tuple[str, Mapping[str, str]]:
    if places.dir:
        folder = Path(places.dir) / name
        return printable(str(folder)), _from_folder(Path(places.dir), name)
    if places.command:
        words = (*places.command, name)
        where = printable(shlex.join(words))
        return where, _parsed(where, _output(where, words, command_s))
    raise SecretsError(["fleet.toml: says not where the partners' secrets are; write dir or command in [secrets]"])


@cache
def _allowed() -> Mapping[str, tuple[str, str]]:
    """What may come from there: secrets, and the ids that are renewed with them; variable -> group and key."""
    ids = (("pax8", "client_id"), ("halo", "client_id"))
    found = [one for one in variables() if is_secret(one) or one.path in ids]
    return {one.name: (one.path[0], one.path[1]) for one in found}


def _variable(group: str, path: Sequence[str]) -> str:
    return PREFIX + "__".join((group, *path[:1])).upper()


def _missing(partner: FleetPartner) -> list[str]:
    """The credentials that no work can be done without."""
    found = []
    for variable in variables():
        value: Any = partner
        for part in variable.path if variable.required else ():
            value = getattr(value, part)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if variable.required and not text:
            found.append(variable.name)
    return found


# Files


def _from_folder(above: Path, name: str) -> Mapping[str, str]:
    folder = above / name
    shown = printable(str(folder))
    try:
        if not folder.is_dir():
            what = "is not a directory" if os.path.lexists(folder) else "does not exist"
            raise SecretsError([f"{shown}: {what}; put the partner's secret files there"])
        os.listdir(folder)
        real = folder.resolve()
        if real.parent == above.resolve() and real.name != name:
            raise SecretsError([f"{shown}: is a link to another partner's folder; give each its own"])
    except OSError as problem:
        raise SecretsError([f"{shown}: cannot be read: {problem.strerror or problem}"]) from None
    places = Places()
    places.add_secret_files(folder, is_store=True)
    problems = list(places.problems)
    is_store = any(os.path.ismount(path) for path in (above, folder))
    for given in places.values.values():
        assert given.path is not None
        if not given.path.resolve().is_relative_to(real):
            problems.append(
                f"{printable(str(given.path))}: is a link out of the partner's folder; put the file itself here"
            )
        elif not is_store and not os.path.ismount(given.path) and _open_to_others(given.path):
            path = printable(str(given.path))
            problems.append(f"{path}: others may read it; chmod 600 {shlex.quote(path)}")
    if problems:
        raise SecretsError(problems)
    return {name: given.value for name, given in places.values.items()}


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False  # it went away just now: its value was read before


# A program


def _output(where: str, words: Sequence[str], command_s: float) -> bytes:
    """What the program printed. Its errors are not read: they may hold a secret too. When it is over, by itself or not,
    nothing that it started in its process group is left."""
    hint = f"run it by hand to see why: {where}"
    # The machine's own settings, the database's password among them, are no business of it.
    env = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    try:
        program = subprocess.Popen(  # noqa: S603  # nosec B603 - a whole path and a partner's name, without a shell
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
    except OSError as problem:
        raise SecretsError([f"{where}: cannot be started: {problem.strerror or problem}"]) from None
    assert program.stdout is not None
    until = time.monotonic() + command_s
    try:
        printed = _read(program.stdout, until)
        if printed is not None and len(printed) <= MAX_BYTES:
            with suppress(subprocess.TimeoutExpired):
                program.wait(max(until - time.monotonic(), 0.01))
    finally:
        with suppress(ProcessLookupError, PermissionError):  # the latter of one that runs as somebody else, by sudo
            os.killpg(program.pid, signal.SIGKILL)
        ended = program.poll()
        with suppress(subprocess.TimeoutExpired):
            program.wait(1)
        program.stdout.close()
    if printed is not None and len(printed) > MAX_BYTES:
        raise SecretsError([f"{where}: printed more than {MAX_BYTES} bytes, and was stopped; {hint}"])
    if printed is None or ended is None:
        raise SecretsError([f"{where}: was not done within {command_s:g} s, and was stopped; {hint}"])
    if ended:
        how = f"was killed by signal {-ended}" if ended < 0 else f"ended with exit code {ended}"
        raise SecretsError([f"{where}: {how}; {hint}"])
    return printed


def _read(pipe: IO[bytes], until: float) -> bytes | None:
    """All that comes, or a little more than MAX_BYTES of it; None where it had not ended in time."""
    found = bytearray()
    waiting = poll()
    waiting.register(pipe, POLLIN | POLLHUP | POLLERR)
    while len(found) <= MAX_BYTES:
        left = until - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            return None
        piece = os.read(pipe.fileno(), 65_536)
        if not piece:
            break
        found += piece
    return bytes(found)


class _Twice(ValueError):
    pass


def _parsed(where: str, printed: bytes) -> Mapping[str, str]:
    """One JSON object: variable -> text; of what is no variable of ours nothing is read."""

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _Twice
        return dict(pairs)

    shape = f'{{"{PREFIX}PAX8__CLIENT_SECRET": "...", ...}}'
    try:
        found = json.loads(printed.decode("utf-8"), object_pairs_hook=once)
    except _Twice:
        raise SecretsError([f"{where}: printed an object with the same name twice"]) from None
    except (ValueError, RecursionError):  # also of what is no UTF-8
        raise SecretsError([f"{where}: did not print JSON; it must print one object: {shape}"]) from None
    if not isinstance(found, dict):
        raise SecretsError([f"{where}: did not print a JSON object; it must print one: {shape}"])
    values, problems = {}, []
    for name, value in found.items():
        if not name.startswith(PREFIX):
            continue
        if name in MANY_LINES and isinstance(value, (list, dict)):
            values[name] = json.dumps(value)
        elif not isinstance(value, str):
            problems.append(f"{where}: {printable(name)} is not a text; put it in quotes")
        elif value.strip():
            values[name] = value
    if problems:
        raise SecretsError(problems)
    return values

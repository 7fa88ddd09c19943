"""What `init` asks on a terminal: each answer is checked at once, and asked for again only where it is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import typer

from billingsync.cli.terminal import note

if TYPE_CHECKING:
    from billingsync.settings import Settings

_PAX8 = ("BILLINGSYNC_PAX8__CLIENT_ID", "BILLINGSYNC_PAX8__CLIENT_SECRET")
_HALO = ("BILLINGSYNC_HALO__BASE_URL", "BILLINGSYNC_HALO__CLIENT_ID", "BILLINGSYNC_HALO__CLIENT_SECRET")
REQUIRED = (*_PAX8, *_HALO)
_ZONE = "BILLINGSYNC_TIMEZONE"
ASKED = (*REQUIRED, _ZONE)
_QUESTIONS = {
    _PAX8[0]: "Pax8 client id",
    _PAX8[1]: "Pax8 client secret",
    _HALO[0]: "HaloPSA address, e.g. https://acme.halopsa.com",
    _HALO[1]: "HaloPSA client id",
    _HALO[2]: "HaloPSA client secret",
    _ZONE: "Your time zone, e.g. Europe/Berlin",
}
_WHERE = {
    _PAX8[0]: "In Pax8: Settings > Integrations > Credentials > create one. It can also order: keep its secret well.",
    _HALO[
        0
    ]: "In HaloPSA: Configuration > Integrations > HaloPSA API > new application, of the kind Client ID and Secret "
    "(Services), login type Agent.",
}


def ask_for_settings(known: Collection[str], given: Mapping[str, str]) -> dict[str, str]:
    """The answers by variable, without those that were left empty. `known` variables are not asked for; `given` are
    values from the command line."""
    answers: dict[str, str] = {}
    note("An empty answer leaves the setting for later.")
    for names in (_PAX8, _HALO, (_ZONE,)):
        wanted = [name for name in names if name not in known]
        while wanted:
            answers |= {name: _ask(name) for name in wanted}
            wanted = (
                _refused(names, {**os.environ, **given, **answers}) if all(answers.get(name) for name in wanted) else []
            )
    return {name: value for name, value in answers.items() if value}


def _ask(name: str) -> str:
    if name in _WHERE:
        note(_WHERE[name])
    found: str = typer.prompt(
        _QUESTIONS[name],
        default="",
        show_default=False,
        hide_input="SECRET" in name,
        err=True,
        value_proc=lambda text: _checked(name, text.strip()),
    )
    return found


def _checked(name: str, text: str) -> str:
    """The value as `.env` will have it; Typer asks again where it cannot be one."""
    from billingsync.settings import values

    check: Callable[[str], str] | None = {_HALO[0]: values.halo_url, _ZONE: values.time_zone}.get(name)
    try:
        return check(text) if check and text else text
    except ValueError as wrong:
        says = str(wrong) if str(wrong).startswith('"') else f"It {wrong}"
        raise typer.BadParameter(says if says.endswith("?") else f"{says}.") from wrong


def _refused(names: tuple[str, ...], answers: Mapping[str, str]) -> list[str]:
    """Tries the login that these settings make; gives what is to be asked again."""
    from billingsync.connect import halo_service, pax8_service
    from billingsync.errors import BillingSyncError, LoginFailed, NotReachable, SettingsError, UpstreamError
    from billingsync.redaction import Redactor

    if names == (_ZONE,) or not all(answers.get(name) for name in names):
        return []
    note(f"Trying the login at {'Pax8' if names == _PAX8 else 'HaloPSA'} ...")
    try:
        settings = settings_of(answers)
        redactor = Redactor(settings.secrets())
        service = pax8_service(settings, redactor) if names == _PAX8 else halo_service(settings, redactor)[0]
        with service:
            service.login()
    except LoginFailed as failed:
        note(f"{failed.message} Give both again, or leave them empty.")
        return [name for name in names if "CLIENT" in name]
    except NotReachable as failed:
        note(failed.message)
        return [name for name in names if "BASE_URL" in name]
    except UpstreamError as failed:  # somebody answers there, and it is not HaloPSA's way to answer
        note(f"{failed.message} Is this the address of your HaloPSA?" if names == _HALO else failed.message)
        return [name for name in names if "BASE_URL" in name]
    except SettingsError:  # of what else is in the environment: `doctor` tells it
        return []
    except BillingSyncError as failed:
        note(failed.message)
        return []
    note(f"{service.name}: the login works.")
    return []


def settings_of(answers: Mapping[str, str]) -> Settings:
    """The settings that the answers make, with short waits before a call is made again: a person waits for it."""
    from pathlib import Path

    from billingsync.settings import PREFIX, load_settings

    soon = {f"{PREFIX}RETRY__FIRST_WAIT_S": "0.1"}
    return load_settings(soon | dict(answers), Path("/nonexistent")).settings

"""A fleet's folder for partners of the sandbox, so that a fleet can be tried without any credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from billingsync.errors import BillingSyncError
from billingsync.fleet.partner_file import is_secret
from billingsync.settings import variables

Environment = Mapping[str, str]  # variable -> value
RULES = """\
# Whatever is plain is posted by itself, so that a month can be watched to its end.
[approval]
auto_post = "within_limits"

[clients]
guessed = "post"

[products]
lifecycle = "off"
"""


def write_trial(directory: Path, partners: Mapping[str, Environment], rules: str = RULES) -> tuple[Path, Path]:
    """Writes the fleet's folder and, beside it, the partners' secrets; gives both. What is there is overwritten.
    `partners`: name -> the settings of that partner. BillingSyncError where writing fails."""
    fleet, secrets = directory.absolute() / "fleet", directory.absolute() / "secrets"
    files = {
        fleet / "fleet.toml": f"slots = 4\n\n[secrets]\ndir = {_quoted(str(secrets))}\n",
        fleet / "rules" / "defaults.toml": rules,
    }
    for name, settings in partners.items():
        text, hidden = _partner(settings)
        files[fleet / "partners" / name / "partner.toml"] = text
        files |= {secrets / name / variable: value for variable, value in hidden.items()}
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
        except OSError as wrong:
            raise BillingSyncError(f"{path} could not be written: {wrong.strerror or wrong}.") from wrong
    return fleet, secrets


def _partner(settings: Environment) -> tuple[str, Environment]:
    """What goes into the partner.toml, and what goes to the secrets."""
    sections: dict[str, list[str]] = {}
    hidden = {}
    for variable in variables():
        value = settings.get(variable.name)
        if value is None:
            continue
        if is_secret(variable) or variable.path[-1] == "client_id":  # ids are renewed with their secrets
            hidden[variable.name] = value
        elif len(variable.path) == 2:
            group, key = variable.path
            number = value.replace(".", "", 1).isdigit()
            sections.setdefault(group, []).append(f"{key} = {value if number else _quoted(value)}")
    return "\n".join(f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in sections.items()), hidden


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

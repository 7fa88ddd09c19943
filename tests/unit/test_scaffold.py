"""What `billingsync init` writes: complete, loadable, equal to the defaults, and never over anything."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from billingsync.core.rules import Rulebook, Rules
from billingsync.errors import BillingSyncError, UsageError
from billingsync.rulebook import load_rulebook, load_rulebook_with_warnings, rulebook_digest
from billingsync.rulebook.keys import ANY, CLIENT_KEYS, KEYS, FileKeys, Key
from billingsync.settings import Settings, load_settings, variables
from billingsync.setup.scaffold import KEPT, TARGETS, WRITTEN, scaffold_text, write_scaffold

ROOT = Path(__file__).parents[2]
KEY_LINE = re.compile(r"^# (?=[a-z_0-9]+ = )", re.MULTILINE)
VARIABLE_LINE = re.compile(r"^(#?)(BILLINGSYNC_[A-Z0-9_]+)=(.*)$", re.MULTILINE)


def _settings(directory: Path) -> Settings:
    return load_settings({}, directory, run_secrets=directory / "no secrets").settings


def test_the_rules_written_are_the_defaults(tmp_path: Path) -> None:
    write_scaffold(tmp_path)
    rulebook, warnings = load_rulebook_with_warnings(tmp_path / "rules")
    assert rulebook.base == Rules() and rulebook.clients == () and warnings == ()
    assert rulebook.digest == rulebook_digest(Rulebook())


@pytest.mark.parametrize("name", ["defaults.toml", "pax8.toml"])
def test_every_key_taken_out_of_its_comment_is_at_its_default(tmp_path: Path, name: str) -> None:
    write_scaffold(tmp_path)
    path = tmp_path / TARGETS[name]
    text, keys = KEY_LINE.subn("", scaffold_text(name))
    path.write_text(text, encoding="utf-8")
    base = load_rulebook(tmp_path / "rules").base
    assert keys >= 4 and len(base.origins) == keys
    assert base == Rules(origins=base.origins)


def test_every_key_is_there_with_its_section_and_default() -> None:
    text = KEY_LINE.sub("", scaffold_text("defaults.toml"))
    data = tomllib.loads(text, parse_float=Decimal)
    read = FileKeys.model_validate(data)
    for key in KEYS:
        if key.default is None:
            assert f"{key.name} = " in text, key
            assert key.name not in data.get(key.section, {}), key
        else:
            assert getattr(getattr(read, key.section), key.name) == key.default, key


@pytest.mark.parametrize(
    "key", [key for key in KEYS if key.default is None and key.where == ANY], ids=lambda key: key.dotted
)
def test_a_key_that_has_no_default_can_be_copied_from_its_comment(tmp_path: Path, key: Key) -> None:
    found = re.search(rf'{key.name} = ("?\d+"?)', scaffold_text("defaults.toml"))
    assert found
    (tmp_path / "defaults.toml").write_text(f"[{key.section}]\n{found[0]}\n")
    assert load_rulebook(tmp_path).base != Rules()


def test_the_client_example_is_not_read_but_would_load(tmp_path: Path) -> None:
    write_scaffold(tmp_path)
    example = tmp_path / "rules/clients/contoso.toml.example"
    example.rename(example.with_suffix(""))
    (file,) = load_rulebook(tmp_path / "rules").clients
    assert file.halo_client == 214 and file.rules.invoice.recurring_invoice == -8841
    assert {key.name for key in CLIENT_KEYS} <= set(re.findall(r"[a-z0-9_]+", scaffold_text("client.example.toml")))


def test_env_names_every_variable_at_its_default(tmp_path: Path) -> None:
    lines = {name: (mark, value) for mark, name, value in VARIABLE_LINE.findall(scaffold_text("env.example"))}
    known = {variable.name: variable for variable in variables()}
    assert set(lines) == set(known) | {"BILLINGSYNC_SECRETS_DIR"}
    for name, variable in known.items():
        mark, value = lines[name]
        assert (mark, value) == ("", "") if variable.required else mark == "#"
    everything = "".join(f"{name}={value}\n" for name, (_, value) in lines.items())
    (tmp_path / ".env").write_text(everything)
    (tmp_path / ".env").chmod(0o600)
    loaded = load_settings({}, tmp_path, run_secrets=tmp_path / "none")
    assert loaded.settings == Settings() and loaded.warnings == ()


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("defaults.toml", "rules/defaults.toml"),
        ("pax8.toml", "rules/integrations/pax8.toml"),
        ("client.example.toml", "rules/clients/contoso.toml.example"),
        ("env.example", "deploy/env.example"),
    ],
)
def test_the_copies_in_the_checkout_are_the_same(name: str, copy: str) -> None:
    assert (ROOT / copy).read_text(encoding="utf-8") == scaffold_text(name)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/defaults.toml").write_text("# mine\n")
    first = dict(write_scaffold(tmp_path, {"BILLINGSYNC_TIMEZONE": "Europe/Berlin"}))
    assert first == {
        tmp_path / ".env": WRITTEN,
        tmp_path / "rules/defaults.toml": KEPT,
        tmp_path / "rules/integrations/pax8.toml": WRITTEN,
        tmp_path / "rules/clients/contoso.toml.example": WRITTEN,
    }
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {state for _, state in write_scaffold(tmp_path, {"BILLINGSYNC_TIMEZONE": "UTC"})} == {KEPT}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "rules/defaults.toml").read_text() == "# mine\n"


def test_a_dangling_link_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")
    assert (tmp_path / ".env", KEPT) in write_scaffold(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_env_is_born_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_scaffold(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "secret", ["plain", "a b#c", "it's", "back\\slash", "$HOME ${X} `x`", '"quoted"', "ü\u4e2d", "='x'"]
)
def test_values_come_back_unchanged(tmp_path: Path, secret: str) -> None:
    write_scaffold(
        tmp_path, {"BILLINGSYNC_HALO__CLIENT_SECRET": secret, "BILLINGSYNC_HALO__BASE_URL": "https://acme.halopsa.com"}
    )
    settings = _settings(tmp_path)
    assert settings.halo.client_secret.get_secret_value() == secret
    assert settings.halo.base_url == "https://acme.halopsa.com"


def test_a_value_may_replace_a_default(tmp_path: Path) -> None:
    write_scaffold(tmp_path, {"BILLINGSYNC_TIMEZONE": "Europe/Berlin", "BILLINGSYNC_LOCALE": ""})
    text = (tmp_path / ".env").read_text()
    assert "\nBILLINGSYNC_TIMEZONE=Europe/Berlin\n" in text and "\n#BILLINGSYNC_LOCALE=en_US\n" in text
    assert _settings(tmp_path).timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("values", "says"),
    [({"BILLINGSYNC_NOPE": "x"}, "BILLINGSYNC_NOPE"), ({"BILLINGSYNC_TIMEZONE": "a\nB=1"}, "BILLINGSYNC_TIMEZONE")],
)
def test_a_value_that_cannot_stand_there_writes_nothing(tmp_path: Path, values: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        write_scaffold(tmp_path / "new", values)
    assert not (tmp_path / "new").exists()


def test_where_writing_fails_it_says_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("in the way")
    with pytest.raises(BillingSyncError) as failed:
        write_scaffold(tmp_path)
    assert f"Written so far: {tmp_path}/.env" in failed.value.message
    assert failed.value.next_steps == (("billingsync", "init", str(tmp_path)),)


def test_half_a_file_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, *args: object, **kwargs: object) -> None:
        os.close(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(BillingSyncError, match="No space left on device"):
        write_scaffold(tmp_path)
    assert list(tmp_path.iterdir()) == []

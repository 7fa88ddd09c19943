"""Rules written without a file: their order, what is locked, what is checked, and the way back into files [DR1]."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from office import Office

from billingsync.errors import Refused, RulesError, UsageError
from billingsync.rulebook import as_toml, effective, load_rulebook, load_rulebook_with_warnings
from billingsync.run.desk_rules import RulesAsked, pull_rules, set_rules, text_digest
from billingsync.run.plan import plan_again
from billingsync.run.rules_effect import effect_of
from billingsync.store.ledger import Ledger
from billingsync.store.plan_rows import ClientRow

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
DANA = "dana@msp.example (desk)"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def billed(desk: Office) -> ClientRow:
    head = desk.ledger.newest_plan("2026-11")
    assert head
    return next(row for row in desk.ledger.client_rows(head.digest) if row.lines and row.company_id)


def put(desk: Office, client: str, reason: str = "", base: str = "", **values: str) -> None:
    named = {key.replace("__", "."): value for key, value in values.items()}
    asked = RulesAsked(client=client, values=named, reason=reason, base=base)
    set_rules(desk.ledger, desk.settings.rules_dir, asked, who=DANA, now=NOW)


def value_of(ledger: Ledger, rules_dir: Path, company: str, key: str) -> tuple[str, str]:
    rulebook = load_rulebook(rules_dir, ledger.desk_rules())
    file = rulebook.file_for(company_id=company, company_name="", client_id=None)
    rows = {row[0]: (as_toml(row[1]), row[2]) for row in effective(rulebook, file)}
    return rows[key]


def client_file(desk: Office, text: str) -> Path:
    path = desk.folder / "rules" / "clients" / "mine.toml"
    path.write_text(f'[client]\npax8_company = "{billed(desk).company_id}"\n{text}', encoding="utf-8")
    return path


def test_each_layer_beats_those_below_it(desk: Office) -> None:
    rules, company = desk.settings.rules_dir, billed(desk).company_id
    key = "modifiers.azure"
    assert value_of(desk.ledger, rules, company, key)[0] == '"collapse"'  # the integration's file
    put(desk, "pax8", modifiers__azure="drop")
    value, origin = value_of(desk.ledger, rules, company, key)
    assert value == '"drop"' and origin.startswith("desk, dana@msp.example, 2026-11-28, over ")
    put(desk, company, modifiers__azure="keep")
    assert value_of(desk.ledger, rules, company, key)[0] == '"keep"'
    client_file(desk, '[modifiers]\nazure = "collapse"\n')
    value, origin = value_of(desk.ledger, rules, company, key)
    assert value == '"collapse"' and origin.endswith("mine.toml")
    put(desk, company, lines__text="{product}")  # and what the file does not say is the desk's
    assert value_of(desk.ledger, rules, company, "lines.text")[0] == '"{product}"'


def test_a_key_in_the_clients_file_is_locked_with_file_and_line(desk: Office) -> None:
    path = client_file(desk, '[modifiers]\nazure = "collapse"\n')
    with pytest.raises(Refused, match=rf"{path.name}:4"):
        put(desk, billed(desk).company_id, modifiers__azure="drop")
    assert not desk.ledger.desk_rules()


def test_the_digest_covers_the_desk_and_check_names_what_is_beaten(desk: Office) -> None:
    rules = desk.settings.rules_dir
    before = load_rulebook(rules).digest
    put(desk, "pax8", modifiers__azure="drop")
    rulebook, warnings = load_rulebook_with_warnings(rules, desk.ledger.desk_rules())
    assert rulebook.digest != before
    assert any("modifiers.azure is set by desk, dana" in one and "pax8.toml" in one for one in warnings)
    put(desk, "pax8", modifiers__azure="")
    assert load_rulebook(rules, desk.ledger.desk_rules()).digest == before


def test_limits_and_exclusions_want_a_reason_and_mistakes_are_refused(desk: Office) -> None:
    company = billed(desk).company_id
    with pytest.raises(UsageError, match="needs a reason"):
        put(desk, company, limits__client_amount_max="5000")
    with pytest.raises(UsageError, match="needs a reason"):
        put(desk, company, client__exclude="true")
    with pytest.raises(RulesError, match="is not allowed"):
        put(desk, company, modifiers__azure="sometimes")
    with pytest.raises(RulesError, match="recurring_invoice"):
        put(desk, company, invoice__recurring_invoice="the blue one")
    with pytest.raises(UsageError, match=r"Did you mean modifiers\.azure"):
        put(desk, company, modifiers__azur="drop")
    with pytest.raises(UsageError, match="No client is called"):
        put(desk, "nobody at all", modifiers__azure="drop")
    assert not desk.ledger.desk_rules()
    put(desk, company, reason="agreed", limits__client_amount_max="5000")
    assert desk.ledger.desk_rules()[0].text.strip() == "[limits]\nclient_amount_max = 5000"


def test_two_people_on_one_rule_the_second_is_told(desk: Office) -> None:
    company = billed(desk).company_id
    shown = text_digest("")
    put(desk, company, base=shown, modifiers__azure="drop")
    with pytest.raises(Refused, match="were changed since your page was made") as refused:
        put(desk, company, base=shown, modifiers__azure="keep")
    assert 'azure = "drop"' in refused.value.message
    history = desk.ledger.desk_rules_history(company)
    assert [(one.version, one.who) for one, _ in history] == [(1, DANA)]
    entries = [entry for entry in desk.ledger.journal_entries() if entry.kind == "desk_rules"]
    assert len(entries) == 1 and DANA in entries[0].body


def test_the_effect_is_what_the_plan_then_is_and_nothing_is_kept_of_it(desk: Office) -> None:
    row = billed(desk)
    plans = desk.ledger.plans()
    asked = RulesAsked(client=row.company_id, values={"client.exclude": "true"}, reason="left us")
    desk.sandbox.__exit__(None, None, None)  # no vendor is asked
    effect = effect_of(desk.ledger, desk.settings.rules_dir, asked, who=DANA, now=NOW)
    assert desk.ledger.plans() == plans and not desk.ledger.desk_rules()
    mine = next(one for one in effect.moved if one.currency == row.currency)
    assert mine.before.amount == row.amount and mine.after.amount == 0 and mine.after.left_out
    set_rules(desk.ledger, desk.settings.rules_dir, asked, who=DANA, now=NOW)
    head = desk.ledger.newest_plan("2026-11")
    assert head
    planned = plan_again(desk.ledger, desk.settings.rules_dir, head.digest)
    after = next(one for one in planned.plan.clients if one.company_id == row.company_id)
    assert not after.lines and after.excluded
    texts = desk.ledger.rules_texts(planned.plan.rules_digest)  # what decided is kept as it was written
    assert texts and "exclude = true" in texts[0][f"desk/{row.company_id}.toml"]


def test_what_was_set_is_pulled_into_files_and_decides_the_same(desk: Office) -> None:
    rules, company = desk.settings.rules_dir, billed(desk).company_id
    put(desk, "pax8", modifiers__zero_lines="keep", lines__text="{product} {period}")
    put(desk, company, modifiers__azure="drop", **{"product__ABC-1": "17"})
    shared = (rules / "integrations" / "pax8.toml").read_text()
    digest = load_rulebook(rules, desk.ledger.desk_rules()).digest
    files = pull_rules(desk.ledger, rules, who=DANA, now=NOW)
    assert len(files) == 2 and not desk.ledger.desk_rules()
    assert load_rulebook(rules).base.lines.text == "{product} {period}"
    mine = load_rulebook(rules).file_for(company_id=company, company_name="", client_id=None)
    assert mine and mine.rules.modifiers.azure == "drop" and mine.rules.product_blocks[0].halo_item == 17
    text = (rules / "integrations" / "pax8.toml").read_text()
    assert 'favorable_prorata = "drop"' in text and 'zero_lines = "drop"' in shared and 'zero_lines = "keep"' in text
    again = load_rulebook(rules)
    assert again.base.modifiers.zero_lines == "keep" and digest == again.digest
    assert pull_rules(desk.ledger, rules, who=DANA, now=NOW) == ()


def shared_file(desk: Office, text: str) -> tuple[Path, ClientRow, str]:
    """A file about a HaloPSA client, of whom two Pax8 companies are billed: the first, and the other's id."""
    one = billed(desk)
    head = desk.ledger.newest_plan("2026-11")
    assert head and one.client_id is not None
    rows = desk.ledger.client_rows(head.digest)
    other = next(row for row in rows if row.company_id not in ("", one.company_id) and row.lines)
    for row in (one, other):
        desk.ledger.set_company_match(row.company_id, one.client_id, company_name=row.company_name, who=DANA, now=NOW)
    plan_again(desk.ledger, desk.settings.rules_dir, head.digest)
    path = desk.folder / "rules" / "clients" / "both.toml"
    path.write_text(f"[client]\nhalo_client = {one.client_id}\n{text}", encoding="utf-8")
    return path, one, other.company_id


def test_what_is_said_of_one_company_is_never_pulled_into_a_file_about_several(desk: Office) -> None:
    path, one, other = shared_file(desk, '[modifiers]\nzero_lines = "keep"\n')
    before, rules = path.read_text(), desk.settings.rules_dir
    put(desk, one.company_id, modifiers__azure="drop")
    with pytest.raises(Refused, match="is about several Pax8 companies") as refused:
        pull_rules(desk.ledger, rules, who=DANA, now=NOW)
    assert refused.value.next_steps and path.read_text() == before and desk.ledger.desk_rules()
    put(desk, other, modifiers__azure="drop")  # once it is said of all, it may
    assert pull_rules(desk.ledger, rules, who=DANA, now=NOW) == (path.as_posix(),)
    for company in (one.company_id, other):
        file = load_rulebook(rules).file_for(company_id=company, company_name="", client_id=one.client_id)
        assert file and file.rules.modifiers.azure == "drop" and file.rules.modifiers.zero_lines == "keep"


def test_a_key_that_came_into_the_clients_file_later_stays_when_rules_are_pulled(desk: Office) -> None:
    rules, company = desk.settings.rules_dir, billed(desk).company_id
    put(desk, company, modifiers__azure="drop", lines__text="{product}")
    path = client_file(desk, '[modifiers]\nazure = "keep"\n')
    assert value_of(desk.ledger, rules, company, "modifiers.azure")[0] == '"keep"'
    assert pull_rules(desk.ledger, rules, who=DANA, now=NOW) == (path.as_posix(),)
    assert value_of(desk.ledger, rules, company, "modifiers.azure")[0] == '"keep"'
    assert value_of(desk.ledger, rules, company, "lines.text")[0] == '"{product}"'


def test_rules_of_the_desk_map_no_company_to_the_client_of_a_file(desk: Office) -> None:
    _, one, _ = shared_file(desk, "")
    put(desk, one.company_id, modifiers__azure="drop")
    rulebook = load_rulebook(desk.settings.rules_dir, desk.ledger.desk_rules())
    file = rulebook.file_for(company_id=one.company_id, company_name=one.company_name, client_id=None)
    assert file and file.halo_client is None and file.rules.modifiers.azure == "drop"


def test_a_company_that_is_mapped_to_another_client_follows_that_clients_file_from_then_on(desk: Office) -> None:
    path, one, _ = shared_file(desk, '[modifiers]\nzero_lines = "keep"\n')
    rules, company = desk.settings.rules_dir, one.company_id
    put(desk, company, lines__text="{product}")
    path.with_name("new.toml").write_text(
        '[client]\nhalo_client = 214\n[modifiers]\nazure = "drop"\n', encoding="utf-8"
    )
    assert value_of(desk.ledger, rules, company, "modifiers.zero_lines") == ('"keep"', path.as_posix())
    assert one.client_id != 214
    desk.ledger.set_company_match(company, 214, company_name=one.company_name, who=DANA, now=NOW)
    assert value_of(desk.ledger, rules, company, "modifiers.azure")[0] == '"drop"'
    assert value_of(desk.ledger, rules, company, "modifiers.zero_lines")[0] == '"drop"'  # of all clients again
    assert value_of(desk.ledger, rules, company, "lines.text")[0] == '"{product}"'  # the company's own go along


def test_a_company_that_was_renamed_gets_no_rules_of_whoever_took_over_its_name(desk: Office) -> None:
    """A file that is written for the new bearer of a name is not about the company that had it when somebody set rules
    for it on the desk."""
    one, other = [row for row in desk.ledger.client_rows(desk_head(desk)) if row.lines and row.company_id][:2]
    put(desk, one.company_id, lines__text="{product}")
    names = {one.company_id: "Another Name Ltd", other.company_id: one.company_name}
    for company in desk.sandbox.pax8.companies:
        company["name"] = names.get(company["id"], company["name"])
    desk.plan()
    path = desk.folder / "rules" / "clients" / "mine.toml"
    path.write_text(f'[client]\nname = "{one.company_name}"\n[modifiers]\nazure = "keep"\n', encoding="utf-8")
    for _ in range(2):  # before the name is bound, and after
        rules = desk.settings.rules_dir
        assert value_of(desk.ledger, rules, one.company_id, "modifiers.azure")[0] == '"collapse"'
        assert value_of(desk.ledger, rules, one.company_id, "lines.text")[0] == '"{product}"'
        desk.plan()
    assert desk.ledger.rule_names()[one.company_name].target == other.company_id


def desk_head(desk: Office) -> str:
    head = desk.ledger.newest_plan("2026-11")
    assert head
    return head.digest


def test_a_company_that_was_renamed_keeps_the_file_that_named_it(desk: Office) -> None:
    one = billed(desk)
    path = desk.folder / "rules" / "clients" / "mine.toml"
    path.write_text(f'[client]\nname = "{one.company_name}"\n[modifiers]\nazure = "keep"\n', encoding="utf-8")
    put(desk, one.company_id, lines__text="{product}")
    desk.plan()
    for company in desk.sandbox.pax8.companies:
        company["name"] = "Another Name Ltd" if company["id"] == one.company_id else company["name"]
    for _ in range(2):
        desk.plan()
        assert value_of(desk.ledger, desk.settings.rules_dir, one.company_id, "modifiers.azure")[0] == '"keep"'


def test_files_that_would_be_wrong_stay_as_they_were(desk: Office) -> None:
    rules, company = desk.settings.rules_dir, billed(desk).company_id
    put(desk, company, modifiers__azure="drop")
    broken = rules / "clients" / "other.toml"
    broken.write_text("[client]\n", encoding="utf-8")
    with pytest.raises(RulesError):
        pull_rules(desk.ledger, rules, who=DANA, now=NOW)
    assert sorted(path.name for path in (rules / "clients").glob("*.toml")) == ["other.toml"]
    assert desk.ledger.desk_rules()


def test_the_commands_set_show_check_and_pull(
    desk: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from billingsync.cli import main

    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", desk.settings.database_url)
    monkeypatch.setenv("BILLINGSYNC_RULES_DIR", str(desk.settings.rules_dir))

    def run(*words: str) -> tuple[int, str]:
        code = main(list(words))
        return code, capsys.readouterr().out

    name, company = billed(desk).name, billed(desk).company_id
    code, said = run("rules", "set", name, "client.exclude=true", "--reason", "left us", "--dry-run")
    assert code == 0 and "to post" in said and "Nothing was saved" in said and not desk.ledger.desk_rules()
    assert run("rules", "set", name, "modifiers.azure=drop")[0] == 0
    assert run("rules", "set", name, "modifiers.azure")[0] == 2
    code, said = run("rules", "show", company, "--json")
    assert code == 0 and '"desk, ' in said
    code, said = run("rules", "check")
    assert code == 0 and "0 client files" in said
    code, said = run("rules", "pull")
    assert code == 0 and "Wrote " in said and not desk.ledger.desk_rules()
    assert run("rules", "check")[1].startswith("Rules OK in") and "1 client file," in run("rules", "check")[1]


FAMILY, BUNDLE = "reconcile__match__BP-M", "reconcile__bundle__1700"
SKUS = '{ pax8_skus = ["BP-M", "BP-A"], halo_items = [1502, 1602], count = "each" }'
COVERS = '[{ pax8_sku = "BP-M", seats = 1 }, { pax8_sku = "DEF", seats = 2 }]'


def test_families_and_bundles_are_set_checked_and_pulled_like_every_key(desk: Office) -> None:
    rules = desk.settings.rules_dir
    put(desk, "pax8", **{FAMILY: SKUS, BUNDLE: COVERS})
    base = load_rulebook(rules, desk.ledger.desk_rules()).base
    assert base.matches[0].halo_items == (1502, 1602) and base.matches[0].count == "each"
    assert [(one.pax8_sku, one.seats) for one in base.bundles[0].covers] == [("BP-M", 1), ("DEF", 2)]
    with pytest.raises(RulesError, match=r"1502 stands in a \[\[reconcile.match\]\] block too"):
        put(desk, "pax8", reconcile__bundle__1502=COVERS)
    with pytest.raises(RulesError, match=r"in reconcile\.match 1 already"):
        put(desk, "pax8", reconcile__match__OTHER='{ pax8_skus = ["OTHER", "BP-A"], halo_items = [9] }')
    for wrong in ('["BP-M"]', '{ pax8_skus = ["OTHER"], halo_items = [9] }'):
        with pytest.raises(UsageError, match="with that SKU among them"):
            put(desk, "pax8", **{FAMILY: wrong})
    with pytest.raises(UsageError, match="A bundle is set as"):
        put(desk, "pax8", **{BUNDLE: '"DEF"'})
    put(desk, "pax8", **{"reconcile__match__BP-A": '{ pax8_skus = ["BP-M", "BP-A"], halo_items = [77] }'})
    assert load_rulebook(rules, desk.ledger.desk_rules()).base.matches[0].halo_items == (77,)  # the same family
    before = load_rulebook(rules, desk.ledger.desk_rules()).base
    pull_rules(desk.ledger, rules, who=DANA, now=NOW)
    after = load_rulebook(rules).base
    assert not desk.ledger.desk_rules() and (after.matches, after.bundles) == (before.matches, before.bundles)
    put(desk, "pax8", **{BUNDLE: "[{ pax8_sku = 'DEF', seats = 1 }]"})  # over the file's of the same item
    assert len(load_rulebook(rules, desk.ledger.desk_rules()).base.bundles[0].covers) == 1
    put(desk, "pax8", **{BUNDLE: ""})
    assert len(load_rulebook(rules, desk.ledger.desk_rules()).base.bundles[0].covers) == 2


def test_a_family_in_the_clients_file_is_locked(desk: Office) -> None:
    client_file(desk, '[[reconcile.match]]\npax8_skus = ["BP-M"]\nhalo_items = [5]\n')
    with pytest.raises(Refused, match="a client's file is never beaten"):
        put(desk, billed(desk).company_id, **{FAMILY: SKUS})


@pytest.mark.parametrize("name", ["Aardvark Ltd", "Zebra Ltd"])
def test_a_file_that_names_a_renamed_company_by_its_new_name_counts_on(desk: Office, name: str) -> None:
    one = billed(desk)
    path = desk.folder / "rules" / "clients" / "mine.toml"
    text = '[client]\nname = "{}"\n[modifiers]\nazure = "keep"\n'
    path.write_text(text.format(one.company_name), encoding="utf-8")
    put(desk, one.company_id, lines__text="{product}")
    desk.plan()
    for company in desk.sandbox.pax8.companies:
        company["name"] = name if company["id"] == one.company_id else company["name"]
    desk.plan()
    path.write_text(text.format(name), encoding="utf-8")
    for _ in range(3):
        desk.plan()
        assert value_of(desk.ledger, desk.settings.rules_dir, one.company_id, "modifiers.azure")[0] == '"keep"'
    path.write_text(text.format(one.company_name), encoding="utf-8")  # and by its old one, which is bound to it
    assert value_of(desk.ledger, desk.settings.rules_dir, one.company_id, "modifiers.azure")[0] == '"keep"'

"""The desk in a real browser: by keyboard alone, without script, on a phone, in the dark, and what axe says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from browser import COLOURS, RULES, chromium, need_chromium, tab
from office import Office, office
from served import QUICK_HASHES

from billingsync.connect import connections
from billingsync.core.desk import Role
from billingsync.run.orders import Carrier
from billingsync.sandbox.options import SandboxOptions
from billingsync.service.order_thread import OrderThread
from billingsync.setup.orders import carries
from billingsync.web.app import make_app, make_desk
from billingsync.web.server import DeskServer
from billingsync.web.site import site_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.xdist_group("browser"),
]

SCREENS = [
    "/ready/2026-11?view=held",
    "/ready/2026-11?open=0&view=held",
    "/holds/2026-11",
    "/reconcile/licences",
    "/reconcile/billing",
    "/reconcile/findings?kind=not_billed",
    "/expiring",
    "/cards",
    "/cards?as=list&kind=changed",
    "/imports",
    "/imports/new",
    "/clients",
    "/products",
    "/products/import",
    "/products/together",
    "/products/lifecycle",
    "/exclusions",
    "/start",
    "/rules",
    "/months",
    "/runs",
    "/activity",
    "/connections",
    "/people",
    "/me",
    "/status",
]
MAIN = ["/ready/2026-11?view=held", "/holds/2026-11", "/reconcile/licences", "/reconcile/billing", "/cards"]


class Running:
    """A desk that runs, with hands for its orders."""

    def __init__(self, desk: Office, base: str) -> None:
        self.desk, self.base = desk, base

    def cookie(self, role: Role = Role.ADMIN) -> str:
        return self.desk.session(role)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_chromium()
    with chromium() as running:
        yield running


def _running(desk: Office) -> Any:
    live = desk.live
    carrier = Carrier(
        desk.ledger, lambda: connections(live.current(), live.redactor), kind="desk", carries=carries(live)
    )
    orders = OrderThread(carrier)

    def make(port: int) -> Any:
        site = site_of(desk.settings.desk, port)
        return make_app(make_desk(live, desk.ledger, site, wake=orders.wake, passwords=QUICK_HASHES))

    return orders, DeskServer("127.0.0.1", 0, make)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A month that is planned, for looking."""
    need_chromium()
    with office(tmp_path_factory.mktemp("shown")) as desk:
        desk.plan("2026-10")
        desk.plan()
        desk.compare()
        orders, server = _running(desk)
        with orders, server:
            yield Running(desk, f"http://127.0.0.1:{server.port}")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """A month of one's own, to post."""
    need_chromium()
    with office(tmp_path) as desk:
        desk.plan()
        orders, server = _running(desk)
        with orders, server:
            yield Running(desk, f"http://127.0.0.1:{server.port}")


@pytest.mark.parametrize("path", SCREENS)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(browser: Any, shown: Running, path: str) -> None:
    with tab(browser, shown.base, shown.cookie()) as opened:
        opened.go(path)
        opened.axe()
        opened.no_sideways_scroll()


@pytest.mark.parametrize("path", MAIN)
@pytest.mark.parametrize("how", ["phone", "dark"])
def test_axe_finds_nothing_on_a_phone_and_in_the_dark(browser: Any, shown: Running, path: str, how: str) -> None:
    with tab(browser, shown.base, shown.cookie(), phone=how == "phone", dark=how == "dark") as opened:
        opened.go(path)
        opened.axe(COLOURS if how == "dark" else RULES)  # all else in the dark is the page that was looked at by day
        opened.no_sideways_scroll()


def test_nothing_is_cut_off_on_a_phone(browser: Any, shown: Running) -> None:
    with tab(browser, shown.base, shown.cookie(), phone=True) as opened:
        for path in SCREENS:
            if path not in MAIN:
                opened.go(path)
                opened.no_sideways_scroll()


@pytest.mark.long
@pytest.mark.parametrize("path", SCREENS)
@pytest.mark.parametrize("phone", [False, True])
@pytest.mark.parametrize("dark", [False, True])
def test_the_whole_matrix(browser: Any, shown: Running, path: str, phone: bool, dark: bool) -> None:
    with tab(browser, shown.base, shown.cookie(), phone=phone, dark=dark) as opened:
        opened.go(path)
        opened.axe()
        opened.no_sideways_scroll()


def test_nobody_gets_the_sign_in_and_axe_finds_nothing_there(browser: Any, shown: Running) -> None:
    with tab(browser, shown.base) as opened:
        opened.go("/ready/2026-11")
        assert "/login?next=%2Fready%2F2026-11" in opened.page.url
        opened.axe()


def test_rows_open_by_click_filter_while_typing_and_keep_their_roles(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, shown.base, shown.cookie()) as opened:
        opened.go("/ready/2026-11")
        page = opened.page
        rows = page.locator("table.ready > tbody > tr.r")
        count = rows.count()
        assert page.get_by_role("table").first.get_by_role("rowheader").count() == count
        assert page.get_by_role("columnheader").count() == 9
        first = rows.first.locator("[data-open]")
        first.click()
        expect(page.locator("tr.more")).to_have_count(1)
        expect(first).to_have_attribute("aria-expanded", "true")
        first.click()
        expect(page.locator("tr.more")).to_have_count(0)
        name = rows.nth(1).locator("bdi").first.inner_text()
        page.get_by_role("searchbox").press_sequentially(name[:12])
        expect(rows.first.locator("bdi").first).to_have_text(name)
        assert rows.count() < count
        assert "q=" in page.url
        page.locator(".views a", has_text="Held").click()
        expect(page.locator('.views a[aria-current="true"]')).to_contain_text("Held")


def test_a_month_is_posted_by_keyboard_alone(browser: Any, own: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, own.base, own.cookie(Role.FINANCIAL)) as opened:
        opened.go("/ready/2026-11")
        page, keys = opened.page, 0

        def press(*typed: str) -> None:
            nonlocal keys
            for key in typed:
                page.keyboard.press(key)
                keys += 1

        press("j", "j", "k", "o")
        expect(page.locator("tr.more")).to_have_count(1)
        press("n")
        expect(page.locator("tr.r:focus")).to_have_attribute("data-needs", "")
        press("?")
        expect(page.get_by_role("dialog", name="Keys on this page")).to_be_visible()
        press("Escape")
        press("p")
        dialog = page.get_by_role("dialog", name="to HaloPSA?")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
        press("Escape")
        expect(dialog).to_be_hidden()
        press("p", "Tab", "Enter")
        expect(page.get_by_role("heading", name="Posted November 2026")).to_be_visible(timeout=30_000)
        expect(page.get_by_text("What HaloPSA returned")).to_be_visible()
        assert keys <= 120
        opened.axe()
    assert own.desk.written()


def test_unticking_changes_the_sums_at_once_and_nothing_can_be_posted_until_the_plan_is_updated(
    browser: Any, own: Running
) -> None:
    """[RI1] [RI2]: it survives filter and reload, is kept against the digest, and turns the button."""
    from playwright.sync_api import expect

    with tab(browser, own.base, own.cookie(Role.FINANCIAL)) as opened:
        opened.go("/ready/2026-11")
        page = opened.page
        post, update = page.locator('.dock [data-key="p"]'), page.get_by_role("button", name="Update plan")
        before = page.locator('[data-part="post"]').inner_text()
        head = own.desk.ledger.newest_plan("2026-11")
        assert head
        row = next(one for one in own.desk.ledger.client_rows(head.digest) if one.lines > 1)
        mine = page.locator(f"#c{row.nth}")
        mine.focus()
        page.keyboard.press("x")
        expect(mine.get_by_role("checkbox")).not_to_be_checked()
        expect(page.locator('[data-part="aside"]')).to_be_visible()
        expect(page.locator('[data-part="post"]')).not_to_have_text(before)
        expect(post).to_be_hidden()
        expect(update).to_be_visible()
        expect(page.locator("#said")).to_contain_text("Set aside.")
        page.keyboard.press("p")
        assert page.locator("dialog[open]").count() == 0  # nothing can be posted while something is unticked
        page.reload()
        expect(mine.get_by_role("checkbox")).not_to_be_checked()
        page.get_by_role("searchbox").press_sequentially(row.name[:8])
        page.wait_for_url(
            lambda url: f"q={quote_plus(row.name[:8])}" in url.replace("%20", "+")
        )  # the rows are new now
        expect(mine.get_by_role("checkbox")).not_to_be_checked()
        page.get_by_role("button", name="Tick all").click()
        expect(page.locator('[data-part="post"]')).to_have_text(before)
        expect(post).to_be_visible()
        page.keyboard.press("Escape")
        mine.focus()
        page.keyboard.press("o")
        lines = page.locator(f"#m{row.nth} tr.line")
        expect(lines).to_have_count(row.lines)
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(lines.first.get_by_role("checkbox")).not_to_be_checked()
        opened.axe()
        page.keyboard.press("u")
        expect(page.get_by_text("Update plan")).to_be_hidden(timeout=30_000)
        after = own.desk.ledger.newest_plan("2026-11")
        assert after and after.digest != head.digest
        assert len(own.desk.ledger.charges_set_aside("2026-11")) >= 1
        expect(post).to_be_visible()


def test_forty_clients_with_five_exceptions_in_at_most_120_keys(browser: Any, tmp_path: Path) -> None:
    """Real key events only: every held client is looked at, three clients are set aside, the rest is posted."""
    from playwright.sync_api import expect

    with office(tmp_path, SandboxOptions(seed=7, clients=40, charges=400)) as desk:
        desk.plan()
        orders, server = _running(desk)
        with orders, server, tab(browser, f"http://127.0.0.1:{server.port}", desk.session(Role.FINANCIAL)) as opened:
            opened.go("/ready/2026-11")
            page, keys = opened.page, 0

            def press(*typed: str) -> None:
                nonlocal keys
                for key in typed:
                    page.keyboard.press(key)
                    keys += 1

            assert page.locator("table.ready > tbody > tr.r").count() >= 40
            for _ in range(5):  # to each exception, look, and close it again
                press("n")
                expect(page.locator("tr.r:focus")).to_have_attribute("data-needs", "")
                press("o")
                expect(page.locator("tr.more")).to_have_count(1)
                press("o")
                expect(page.locator("tr.more")).to_have_count(0)
            for _ in range(3):
                press("j")
                while page.locator("tr.r:focus input.all").count() == 0:
                    press("j")
                press("x")
            press("u")
            expect(page.locator('.dock [data-key="p"]')).to_be_visible(timeout=30_000)
            press("p")
            expect(page.get_by_role("dialog", name="to HaloPSA?")).to_be_visible()
            press("Tab", "Enter")
            expect(page.get_by_role("heading", name="Posted November 2026")).to_be_visible(timeout=60_000)
            assert keys <= 120, keys
        assert desk.written() and len(desk.ledger.charges_set_aside("2026-11")) >= 3


def test_the_key_e_explains_the_row_and_axe_finds_nothing_on_the_charge(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL)) as opened:
        opened.go("/holds/2026-11")
        opened.page.keyboard.press("j")
        opened.page.keyboard.press("e")
        expect(opened.page.get_by_role("heading", name="What was decided, and why")).to_be_visible()
        assert "/charges/" in opened.page.url
        opened.axe()
        opened.no_sideways_scroll()


def test_a_whole_month_is_closed_without_script(browser: Any, own: Running) -> None:
    """Looked at, a line set aside, put back, a company mapped, posted, and undone: forms and links alone [DK7]."""
    with tab(browser, own.base, own.cookie(Role.FINANCIAL), script=False) as opened:
        page, ledger = opened.page, own.desk.ledger
        head = ledger.newest_plan("2026-11")
        assert head
        rows = ledger.client_rows(head.digest)
        row = next(row for row in rows if row.lines > 1)
        opened.go(f"/ready/2026-11?open={row.nth}")
        assert page.locator("tr.more").count() == 1
        page.locator("tr.line").first.get_by_role("checkbox").uncheck()
        page.get_by_role("button", name="Set aside what is not ticked").click()
        assert ledger.charges_set_aside("2026-11")
        opened.go("/holds/2026-11")
        section = page.locator("section", has=page.get_by_role("button", name="Put back"))
        for box in section.get_by_role("checkbox").all():
            box.check()
        section.get_by_role("button", name="Put back").click()
        assert not ledger.charges_set_aside("2026-11")
        unmapped = next(row for row in rows if row.company_id and row.client_id is None)
        opened.go(f"/clients/choose?company={unmapped.company_id}")
        page.get_by_label("Or another client's id").fill(str(row.client_id))
        page.get_by_role("button", name="Choose, and plan").click()
        opened.until("Clients")
        opened.go("/ready/2026-11")
        page.get_by_role("link", name="Post exactly").click()
        page.get_by_role("button", name="Post ").click()
        page.get_by_role("heading", name="Posted November 2026").wait_for(timeout=30_000)  # it looks again by itself
        assert own.desk.written()
        page.get_by_role("button", name="Undo this run").click()
        opened.until("What undoing would take out")
        page.get_by_role("button", name="Undo ").click()
        opened.until("What was taken out")
    assert not own.desk.written()


def test_guessed_clients_are_confirmed_together_without_script(browser: Any, tmp_path: Path) -> None:
    """Ticked or all, looked at with their charges and money, confirmed by one button: forms alone [DK5] [DK7]."""
    with office(tmp_path) as desk:
        desk.rename_two_clients()
        desk.plan()
        head, ledger = desk.ledger.newest_plan("2026-11"), desk.ledger
        assert head
        rows = ledger.client_rows(head.digest)
        guesses = {row.company_id: row.client_id for row in rows if row.guessed}
        assert len(guesses) == 2
        orders, server = _running(desk)
        base, cookie = f"http://127.0.0.1:{server.port}", desk.session(Role.FINANCIAL)
        with orders, server, tab(browser, base, cookie, script=False) as opened:
            page = opened.page
            opened.go("/clients")
            page.get_by_role("button", name="Confirm what is ticked").click()
            assert page.get_by_text("Tick at least one guessed client").count() == 1
            opened.go("/clients")
            boxes = page.locator("input[name=company]")
            assert boxes.count() == len(guesses)  # nothing but guesses can be ticked
            boxes.first.check()
            page.get_by_role("button", name="Confirm what is ticked").click()
            assert page.get_by_text("1 guess, ").count() == 1
            page.get_by_role("link", name="Leave them").click()
            assert not any(one.how == "person" for one in ledger.company_matches().values())
            page.get_by_role("button", name=f"Confirm all {len(guesses)} guesses").click()
            assert page.get_by_text(f"{len(guesses)} guesses, ").count() == 1
            page.get_by_role("button", name=f"Confirm {len(guesses)} clients").click()
            page.get_by_role("heading", name="Clients", exact=True).wait_for(timeout=30_000)
            assert page.locator("input[name=company]").count() == 0
        found = {id: one.client_id for id, one in ledger.company_matches().items() if one.how == "person"}
        assert found == guesses
        assert not desk.written()


def test_single_keys_can_be_switched_off(browser: Any, shown: Running) -> None:
    with tab(browser, shown.base, shown.cookie()) as opened:
        opened.go("/me")
        opened.page.get_by_role("button", name="Switch keys off").click()
        opened.go("/ready/2026-11")
        opened.page.keyboard.press("j")
        assert opened.page.locator("tr.r:focus").count() == 0


def test_a_policy_of_its_own_stays_on(browser: Any, shown: Running) -> None:
    """Were a script to stand in a page, it would not run; the test of the console is not blind."""
    with tab(browser, shown.base, shown.cookie()) as opened:
        opened.go("/status")
        session = opened.page.context.new_cdp_session(opened.page)
        put = "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s); window.bad"
        answer = session.send("Runtime.evaluate", {"expression": put, "returnByValue": True})
        assert answer["result"].get("value") is None
        opened.page.wait_for_timeout(100)
        assert any("Content Security Policy" in text for text in opened.said)
        opened.said.clear()


def test_a_comparison_is_read_opened_and_filtered_by_keyboard(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL)) as opened:
        opened.go("/reconcile/licences")
        page = opened.page
        page.keyboard.press("j")
        page.keyboard.press("o")
        expect(page.locator("tr.more")).to_have_count(1)
        expect(page.locator("tr.r:focus [data-open]")).to_have_attribute("aria-expanded", "true")
        opened.axe()
        name = page.locator("tr.of bdi").first.inner_text()
        page.keyboard.press("/")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        expect(page.locator("tr.of")).to_have_count(1)
        assert "q=" in page.url
        page.get_by_role("button", name="Read again").click()
        expect(page.get_by_role("heading", name="Licences")).to_be_visible(timeout=30_000)
        assert "q=" in page.url


def test_who_was_signed_out_signs_in_where_one_stood_and_the_act_goes_on(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    ledger, now = shown.desk.ledger, shown.desk.clock()
    person = ledger.person_by_email("kim@msp.example") or ledger.add_person(
        "kim@msp.example", Role.FINANCIAL, who="the test", now=now
    )
    ledger.set_password(person.id, QUICK_HASHES.hash("a long sentence of mine"), who="the test", now=now)
    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL)) as opened:
        page = opened.page
        opened.go("/ready/2026-11")
        page.context.clear_cookies()
        page.keyboard.press("j")
        page.keyboard.press("o")
        dialog = page.get_by_role("dialog", name="You were signed out")
        expect(dialog).to_be_visible()
        dialog.get_by_label("E-mail address").fill("kim@msp.example")
        dialog.get_by_label("Password").fill("not this one")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog.get_by_role("alert")).to_contain_text("not right")
        opened.axe()
        dialog.get_by_label("Password").fill("a long sentence of mine")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_be_hidden()
        expect(page.locator("tr.more")).to_have_count(1)
        page.context.clear_cookies()
        page.locator(".views a", has_text="Held").click()
        expect(dialog).to_be_visible()
        dialog.get_by_label("E-mail address").fill("kim@msp.example")
        dialog.get_by_label("Password").fill("a long sentence of mine")
        page.keyboard.press("Enter")
        expect(page.locator('.views a[aria-current="true"]')).to_contain_text("Held")


def test_what_takes_longer_says_that_it_is_busy_and_single_keys_lead_everywhere(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL)) as opened:
        page = opened.page
        opened.go("/ready/2026-11")
        slow = {"offline": False, "latency": 900, "downloadThroughput": -1, "uploadThroughput": -1}
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", slow)
        field = page.get_by_role("searchbox")
        field.press_sequentially("micro")
        expect(field).to_have_attribute("aria-busy", "true")
        expect(field).not_to_have_attribute("aria-busy", "true")
        session.send("Network.emulateNetworkConditions", slow | {"latency": 0})
        page.keyboard.press("Escape")
        for key, name in (("k", "Cards"), ("e", "Expiring"), ("l", "Licences")):
            page.keyboard.press("g")
            page.keyboard.press(key)
            expect(page.get_by_role("heading", level=1)).to_contain_text(name)


def test_cards_are_ticked_by_range_or_all_with_their_sums(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL)) as opened:
        page = opened.page
        opened.go("/cards?as=list")
        boxes, told = page.locator("#ticked input[name=card]"), page.locator('[data-part="cards"]')
        count = boxes.count()
        assert count > 3
        expect(told).to_have_text("none")
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(told).to_contain_text("1, +")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("X")
        expect(page.locator("#ticked input[name=card]:checked")).to_have_count(3)
        page.keyboard.press("a")
        expect(page.locator("#ticked input[name=card]:checked")).to_have_count(count)
        expect(told).to_contain_text(f"{count}, ")
        expect(told).to_contain_text("\u2212")  # what goes is never netted with what comes
        page.keyboard.press("a")
        expect(told).to_have_text("none")


def test_a_comparison_opens_without_script(browser: Any, shown: Running) -> None:
    with tab(browser, shown.base, shown.cookie(Role.USER), script=False) as opened:
        opened.go("/reconcile/licences")
        opened.page.locator("tr.r th.name a").first.click()
        assert opened.page.locator("tr.more").count() == 1


def test_typed_values_are_worked_out_while_typing(browser: Any, shown: Running) -> None:
    from playwright.sync_api import expect

    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL)) as opened:
        opened.go("/cards")
        page = opened.page
        page.locator("tr.r th a").first.click()
        expect(page.get_by_role("heading", name="What it would become")).to_be_visible()
        opened.axe()
        page.get_by_label("Quantity").fill("4321")
        expect(page.locator("#summary")).to_contain_text("to 4,321")


def test_a_file_is_imported_in_a_browser_without_script(browser: Any, own: Running, tmp_path: Path) -> None:
    file = tmp_path / "acronis-2026-11.csv"
    file.write_text("Customer,Product,Usage\nContoso Ltd,Backup GB,120\n", encoding="utf-8")
    with tab(browser, own.base, own.cookie(Role.FINANCIAL), script=False) as opened:
        opened.go("/imports/new")
        page = opened.page
        page.set_input_files("#file", str(file))
        page.get_by_role("button", name="Read the file").click()
        page.get_by_role("button", name="Check every row").click()
        page.get_by_role("button", name="Save and import").click()
        page.get_by_role("heading", name="Imports").wait_for()
    assert own.desk.ledger.imports()[0].rows["counted"] == 1


def test_steps_of_the_wizard_are_clean(browser: Any, shown: Running, tmp_path: Path) -> None:
    file = tmp_path / "backup-2026-11.csv"
    file.write_text("Customer,Product,Usage\nContoso Ltd,Backup GB,many\nFabrikam,Backup GB,7\n", encoding="utf-8")
    with tab(browser, shown.base, shown.cookie(Role.FINANCIAL), phone=True) as opened:
        opened.go("/imports/new")
        page = opened.page
        page.set_input_files("#file", str(file))
        page.get_by_role("button", name="Read the file").click()
        page.get_by_role("heading", name="How the file is read").wait_for()
        opened.axe()
        opened.no_sideways_scroll()
        page.get_by_role("button", name="Check every row").click()
        page.get_by_role("heading", name="Check the file").wait_for()
        opened.axe()
        opened.no_sideways_scroll()

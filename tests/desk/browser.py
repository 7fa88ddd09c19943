"""A real Chromium on a real desk: the strict policy stays on, and whatever the console says against a page fails."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
AXE = Path(__file__).with_name("axe.min.js")
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}  # those of RULES about colours
# Only what a failed request of the page itself says; the tests of refusals count those themselves.
_EXPECTED = ("the server responded with a status of 4",)


def need_chromium() -> None:
    """Skips loudly where there is no Chromium; where CI is set, that is a failure."""
    if CHROMIUM.exists():
        return
    if os.environ.get("CI"):
        pytest.fail("CI is set and there is no /usr/bin/chromium: apt-get install chromium")
    pytest.skip("*** NO CHROMIUM: the desk was not looked at in a browser ***")


@dataclass
class Tab:
    """A page and what its console said."""

    page: Any
    base: str
    said: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.base}{path}")

    def clean(self) -> None:
        assert not self.said, self.said

    def until(self, heading: str) -> None:
        """Looks again, as a page without script does every 5 seconds, until it has that heading."""
        found = self.page.get_by_role("heading", name=heading)
        ends = time.monotonic() + 60
        while not found.count():
            assert time.monotonic() < ends, (self.page.url, heading)
            self.page.wait_for_timeout(100)
            self.page.reload()

    def axe(self, rules: Mapping[str, Any] = RULES) -> None:
        """No violation of WCAG 2.2 AA or of best practice; axe goes in past the page's policy, which stays on."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        options = json.dumps({"runOnly": rules, "resultTypes": ["violations"]})
        answer = session.send(
            "Runtime.evaluate",
            {
                "expression": f"axe.run(document, {options}).then(found => JSON.stringify(found.violations))",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        found = json.loads(answer["result"]["value"])
        told = [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"][:300]) for one in found]
        assert not found, told
        session.detach()

    def no_sideways_scroll(self) -> None:
        """Nothing scrolls sideways, and no list or card cuts off what is in it [DP5]."""
        session = self.page.context.new_cdp_session(self.page)
        answer = session.send(
            "Runtime.evaluate",
            {
                "expression": "[document.documentElement, ...document.querySelectorAll('.list:not(.wide), .card')]"
                ".filter(one => one.scrollWidth > one.clientWidth)"
                ".map(one => `${one.tagName} ${one.className}: ${one.innerText.slice(0, 80)}`).join('; ')",
                "returnByValue": True,
            },
        )
        assert not answer["result"]["value"], (self.page.url, answer["result"]["value"])
        session.detach()


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def tab(
    browser: Any, base: str, cookie: str = "", *, phone: bool = False, dark: bool = False, script: bool = True
) -> Iterator[Tab]:
    """A browser of its own: a context, a page, signed in with this cookie."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
    )
    if cookie:
        context.add_cookies([{"name": "desk", "value": cookie, "url": base}])
    context.set_default_timeout(15_000)
    page = context.new_page()
    opened = Tab(page, base)

    def hear(text: str) -> None:
        if not any(part in text for part in _EXPECTED):
            opened.said.append(text)

    page.on("console", lambda message: hear(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda problem: hear(str(problem)))
    yield opened
    context.close()
    opened.clean()

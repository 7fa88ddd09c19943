"""The person who looks after the installation: answers holds as the printed steps say."""

from __future__ import annotations

import re
import shlex
from typing import Any

from life_office import Office, Said
from life_world import Scene, month_of, period

ROUNDS = 6


class Person:
    """`answer(month)` runs the month until nothing waits that a person can answer."""

    def __init__(self, office: Office, scene: Scene) -> None:
        self.office, self.scene = office, scene
        self.stuck: list[str] = []  # holds that no step ended
        self._asked: set[str] = set()  # the months that were run because another had to wait for them
        self.wait: set[int] = set()  # clients whose template's invoice is waited for on purpose

    def run(self, month: int) -> Said:
        return self.office.run("run", period(month), "--yes", "--json")

    def answer(self, month: int) -> Said:
        self._asked = {period(month)}
        return self._answer(month)

    def _answer(self, month: int) -> Said:
        said = self.run(month)
        for _ in range(ROUNDS):
            if said.code not in (1, 3):
                break
            first = [name for name in earlier_months(said) if name not in self._asked]
            for name in first:  # what a ledger forgot is taken over by the month that wrote it
                self._asked.add(name)
                self._answer(month_of(name))
            if not self.act(month, said.json) and not first:
                break
            said = self.run(month)
        return said

    def act(self, month: int, result: Any) -> bool:
        """Follows the steps of what is held; whether anything was done."""
        holds = result.get("holds", [])
        done, seen = False, set()
        for hold in holds:
            key = (hold["reason"], hold.get("company_name"), hold["next_step"])
            if key in seen:
                continue
            seen.add(key)
            done = self._answered(month, hold) or done
        for up in result.get("true_ups", []):
            if up["state"] == "held":
                done = self._typed(up["next_step"]) or done
        return done

    def _answered(self, month: int, hold: dict[str, Any]) -> bool:
        reason, company = hold["reason"], self._company(hold)
        if reason.startswith("client_"):
            if company is None or company in self.scene.excluded:
                return False
            client = self.scene.clients[self.scene.owner[company]]
            pair = f"{self.scene.companies[company]}={client}"
            return self.office.run("map", "companies", "--set", pair).code == 0
        if reason in ("recurring_not_invoiced", "recurring_left_behind"):
            client = self._waited_for(hold)
            if client is None or client in self.wait:
                return False
            return self.scene.person("make", self.scene.template(client)) is not None
        if reason == "source_duplicate":
            return False  # what comes twice here was credited before: it ends with its true-up
        if reason in ("latest_closed", "latest_missing") and company is not None:
            self.scene.hand_invoice(self.scene.owner[company])
            return True
        return self._typed(hold["next_step"])

    def _waited_for(self, hold: dict[str, Any]) -> int | None:
        """The number of the client on whose recurring invoice something waits, as the hold names it: a company may have
        left that client since."""
        found = re.search(r"waits on recurring invoice (\d+)", hold["detail"])
        templates = {abs(self.scene.template(client)): client for client in range(len(self.scene.clients))}
        return templates.get(int(found[1])) if found else None

    def _company(self, hold: dict[str, Any]) -> int | None:
        """The number of the company that a held charge is about."""
        rows = self.scene.world.pax8.items
        invoice, _, item = hold["charge"].partition(":")
        for row in rows.get(invoice, []):
            if row["id"] == item:
                return self.scene.companies.index(row["companyId"])
        name = (hold.get("company_name") or "").removesuffix(" Ltd")
        return self.scene.names.index(name) if name in self.scene.names else None

    def _typed(self, step: Any) -> bool:
        """Types the first whole command of a printed step."""
        words = step if isinstance(step, list) else _command(step or "")
        if not words or words[1:2] in (["explain"], ["holds"], ["plan"], ["runs"], ["show"], ["status"]):
            return False
        words = ["checked" if word in ("TEXT", "...", "why") else word for word in words]
        return self.office.run(*words[1:]).code == 0


def earlier_months(said: Said) -> list[str]:
    """The months that a run says to run first, the oldest first."""
    texts = [said.json.get("message") or "", *(one["problem"] or "" for one in said.json.get("postings", []))]
    found = {name for text in texts for name in re.findall(r"billingsync run (\d{4}-\d\d)", text)}
    return sorted(found - {said.words[1]})


def _command(text: str) -> list[str]:
    start = text.find("billingsync ")
    if start < 0:
        return []
    try:
        return shlex.split(text[start:].split("\n")[0].split(";")[0])
    except ValueError:
        return []

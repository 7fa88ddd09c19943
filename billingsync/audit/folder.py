"""One month's evidence as a folder that reads without billingsync: HTML and CSV for people, JSON as it went over the
wire, the sources unaltered, the journal, and checksums."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from billingsync import __version__
from billingsync.audit.imports import write_cards, write_imports
from billingsync.audit.month import CHARGE_COLUMNS, Month, read_month
from billingsync.audit.page import index_page
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.errors import BillingSyncError, UsageError
from billingsync.report.csv_file import defused
from billingsync.store.ledger import Ledger
from billingsync.store.postings import RecordedPosting, line_as_json

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class _Folder:
    root: Path

    def put(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def text(self, name: str, content: str) -> None:
        self.put(name, content.encode("utf-8", "surrogatepass"))

    def json(self, name: str, value: object) -> None:
        self.text(name, json.dumps(value, indent=2, ensure_ascii=True, default=str) + "\n")

    def table(self, name: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(headers)
        writer.writerows([defused("" if cell is None else str(cell)) for cell in row] for row in rows)
        self.text(name, _BOM + file.getvalue())

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())


def export(ledger: Ledger, period: Period, folder: Path, *, secrets: Sequence[str] = (), locale: str = "en_US") -> int:
    """Writes the folder, whole or not at all, and gives the number of its files. UsageError where it exists already.

    `secrets` must not occur in any file; where one does, nothing is left and BillingSyncError says which file.
    """
    target = folder.expanduser().resolve()
    if target.exists() or target.is_symlink():
        raise UsageError(f"{folder} exists already; an export overwrites nothing. Give it another name.")
    if not target.parent.is_dir():
        raise UsageError(f"The folder {target.parent} does not exist. Create it first.")
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.mkdir(mode=0o700)
        out = _Folder(partial)
        month = read_month(ledger, period)
        _write(out, month, locale)
        write_imports(out, ledger, period)
        write_cards(out, ledger, period)
        _refuse_secrets(out, secrets)
        sums = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(partial)) for path in out.files()]
        out.text("SHA256SUMS", "".join(f"{digest}  {path.as_posix()}\n" for digest, path in sums))
        partial.rename(target)
    except OSError as problem:
        raise BillingSyncError(f"{folder} could not be written: {problem.strerror or problem}.") from problem
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(sums) + 1


def _refuse_secrets(out: _Folder, secrets: Sequence[str]) -> None:
    wanted = [secret.encode() for secret in secrets if len(secret) >= 6]
    for path in out.files():
        content = path.read_bytes()
        if any(secret in content for secret in wanted):
            name = path.relative_to(out.root).as_posix()
            raise BillingSyncError(f"Nothing was exported: {name} would hold one of the settings' secrets.")


def _write(out: _Folder, month: Month, locale: str) -> None:
    sources = {}
    for document in month.documents:
        name = (
            f"sources/{_safe(document.kind)}-{_safe(document.invoice_id)}-{document.page}-{document.sha256[:12]}.json"
        )
        sources[document.sha256] = name
        out.put(name, document.body)
    out.table(
        "sources.csv",
        ("kind", "invoice", "page", "sha256", "bytes", "file"),
        [
            (one.kind, one.invoice_id, one.page, one.sha256, len(one.body), sources[one.sha256])
            for one in month.documents
        ],
    )
    out.table(
        "distributor-invoices.csv",
        ("invoice", "status", "previous_status", "currency", "total", "charges", "first_seen", "last_seen"),
        [
            (
                one.invoice_id,
                one.status,
                one.previous_status,
                one.currency,
                one.total,
                one.charges,
                one.first_seen.isoformat(),
                one.last_seen.isoformat(),
            )
            for one in month.invoices
        ],
    )
    for plan in month.plans:
        out.text(f"plans/{plan.digest}.json", plan.document)
    for number, (digest, files) in enumerate(month.rules, 1):
        for path, text in files.items():
            safe = "/".join(_safe(part) for part in path.split("/") if part not in ("", ".", ".."))
            out.text(f"rules/{digest[:12]}-{number}/{safe}", text)
    for row in month.postings:
        _posting(out, row, month)
    _tables(out, month)
    lines = [json.dumps(asdict(entry), ensure_ascii=True) for entry in month.journal]
    out.text("journal.jsonl", "".join(f"{line}\n" for line in lines))
    names = {"partner": month.partner, "key_name": json.dumps(month.key_name)}
    out.text("README.txt", _README.format(version=__version__, period=month.period, **names))
    out.text("verify.py", _VERIFY.replace("KEY_NAME", repr(month.key_name)))
    out.text("index.html", index_page(month, sources, locale))


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80].lstrip(".") or "none"


def _posting(out: _Folder, row: RecordedPosting, month: Month) -> None:
    """What was sent and what was answered, byte for byte, and what we made of it."""
    base = f"postings/{row.key}"
    out.text(f"{base}/request.json", row.content)
    if row.answer is not None:
        out.text(f"{base}/answer.txt", row.answer)
    if row.before is not None:
        out.text(f"{base}/invoice-before.json", row.before)
    for number, body in enumerate(month.undos.get(row.key, ()), 1):
        out.json(f"{base}/undo-{number}.json", body)
    facts = asdict(row)
    for name in ("content", "answer", "before", "size"):
        del facts[name]
    facts["lines"] = [line_as_json(line) for line in row.lines]
    facts["returned_lines"] = [line_as_json(line) for line in row.returned_lines]
    for name in ("amount", "cost", "returned_price", "returned_cost"):
        facts[name] = None if facts[name] is None else format(facts[name], "f")
    for name in ("intended_at", "sent_at", "settled_at"):
        facts[name] = None if facts[name] is None else facts[name].isoformat()
    out.json(f"{base}/posting.json", facts)


def _tables(out: _Folder, month: Month) -> None:
    out.table("charges.csv", CHARGE_COLUMNS, [_cells(charge) for charge in month.charges])
    out.table(
        "postings.csv",
        ("key", "run", "client_id", "client", "action", "invoice", "state", "amount", "cost", "currency",
         "returned_price", "returned_cost", "intended_at", "settled_at", "message"),
        [
            (
                row.key,
                row.run,
                row.client_id,
                row.client_name,
                row.action,
                row.invoice_id,
                row.state,
                plain(row.amount, row.currency),
                plain(row.cost, row.currency),
                row.currency,
                row.returned_price,
                row.returned_cost,
                row.intended_at.isoformat(),
                row.settled_at.isoformat() if row.settled_at else None,
                row.message,
            )
            for row in month.postings
        ],
    )  # fmt: skip
    out.table(
        "runs.csv",
        ("run", "state", "started_at", "ended_at", "who", "plan", "version"),
        [
            (
                run.id,
                run.state,
                run.started_at.isoformat(),
                run.ended_at.isoformat() if run.ended_at else None,
                run.who,
                run.digest,
                month.versions.get(run.id),
            )
            for run in month.runs
        ],
    )
    out.table(
        "decisions.csv",
        ("entry", "at", "kind", "what"),
        [(entry.seq, entry.at, entry.kind, entry.body) for entry in month.decisions],
    )


def _cells(charge: Mapping[str, object]) -> list[object]:
    return [charge.get(name) for name in CHARGE_COLUMNS]


_README = """\
billingsync {version}: what was billed for {period} (partner "{partner}"), and the evidence for it.

index.html                 begin here; needs no network and no other program than a browser
charges.csv                every charge with its one state: posted, dropped, excluded or held; `waiting` is yes where it
                           is on a recurring invoice of which HaloPSA had made no invoice when it was last looked at
postings.csv, runs.csv, decisions.csv, sources.csv, distributor-invoices.csv
imports.csv, import-rows.csv, cards.csv, imports/ where there are any: vendors' files as they came, and each row
sources/                   what Pax8 answered, byte for byte; its SHA-256 is in sources.csv and in the journal
plans/                     every plan as it was shown (JSON), named by its digest
postings/KEY/              request.json as sent to HaloPSA, answer.txt as it came, invoice-before.json, undo-N.json
rules/                     the rules files as they were written when they decided
journal.jsonl              the whole journal: each entry carries the hash of the one before
SHA256SUMS                 check with:  sha256sum -c SHA256SUMS
verify.py                  the same and the journal's chain, with nothing but Python:  python3 verify.py

An entry's hash is the SHA-256 of the JSON list [{key_name}, seq, at, kind, body, previous], written without blanks and
with non-ASCII characters escaped; `body` is itself a text. The first entry's `previous` is 64 zeros.
"""

_VERIFY = '''\
"""Checks this folder with the standard library alone; exit code 1 where something was altered."""
import hashlib, json, pathlib, sys

here = pathlib.Path(__file__).resolve().parent
wrong = []
for line in (here / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
    digest, name = line.split("  ", 1)
    path = here / name
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        wrong.append(f"{name} is not what was exported")
previous = "0" * 64
for number, line in enumerate((here / "journal.jsonl").read_text(encoding="utf-8").splitlines(), 1):
    entry = json.loads(line)
    said = [KEY_NAME, entry["seq"], entry["at"], entry["kind"], entry["body"], entry["previous"]]
    true = hashlib.sha256(json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode("ascii")).hexdigest()
    if (entry["seq"], entry["previous"], entry["hash"]) != (number, previous, true):
        wrong.append(f"journal entry {number} was altered")
        break
    previous = entry["hash"]
print("\\n".join(wrong) or "Nothing was altered.")
sys.exit(1 if wrong else 0)
'''

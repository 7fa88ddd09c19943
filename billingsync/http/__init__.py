"""The one HTTP client: tokens, call budget, retries, deadlines; and for a write one of three outcomes [N2].

A `Service` is one upstream. `get_json` reads and repeats what is safe to repeat; `send` writes and repeats only what
the server refused or never saw. How a call travels: `service` builds the request with the token of `login`, `calls`
waits for a slot of the `budget` and sets the deadline, `exchange` sends it and reads the whole answer, `verdict` turns
whatever came into a value or an error, `calls` repeats.

Reading raises `NotReachable`, `Retryable`, `LoginFailed` or `UpstreamError` (see `billingsync.errors`). Every text that
leaves this package has passed the `Redactor`.
"""

from billingsync.http.budget import Budget
from billingsync.http.jsontext import read_json, write_json
from billingsync.http.service import Service
from billingsync.http.threads import in_parallel
from billingsync.http.values import (
    Answer,
    Answered,
    CallRecord,
    NotDone,
    OutcomeUnknown,
    Params,
    Sent,
    ServiceConfig,
)

__all__ = [
    "Answer",
    "Answered",
    "Budget",
    "CallRecord",
    "NotDone",
    "OutcomeUnknown",
    "Params",
    "Sent",
    "Service",
    "ServiceConfig",
    "in_parallel",
    "read_json",
    "write_json",
]

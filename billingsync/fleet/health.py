"""The health port of a fleet's worker: /healthz, /readyz, /metrics. No partner is named on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billingsync import __version__
from billingsync.core.states import PartnerState
from billingsync.errors import LedgerError
from billingsync.fleet.vitals import LATENESS_S, FleetVitals
from billingsync.service.http_port import Port
from billingsync.service.metrics import CONTENT_TYPE

States = Callable[[], Counter[PartnerState]]  # partners by state; raises LedgerError
KEPT_S = 60.0  # scrapes in a row must not keep the database busy


class FleetHealth(Port):
    """`with FleetHealth(...):` serves until the block ends; port 0 takes a free one."""

    def __init__(self, host: str, port: int, vitals: FleetVitals, states: States) -> None:
        self._vitals = vitals
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(vitals, states))
        routes = [Route("/healthz", self._healthz), Route("/readyz", self._readyz), Route("/metrics", self._scrape)]
        super().__init__(host, port, routes, group="HEALTH")

    async def _healthz(self, request: Request) -> Response:
        """Planner, engine and children show signs of life. Asks nobody."""
        ills = self._vitals.ills()
        return _json(503 if ills else 200, {"state": "hangs" if ills else "alive", "checks": ills})

    async def _readyz(self, request: Request) -> Response:
        """Database and engine were reached by the planner's last round; never a partner's credentials."""
        says = self._vitals.unready()
        state = "not ready" if says else "ready"
        return _json(503 if says else 200, {"state": state, "checks": {"database and engine": says or "ok"}})

    async def _scrape(self, request: Request) -> Response:
        text = await run_in_threadpool(generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE)


def _json(status: int, body: dict[str, Any]) -> Response:
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


class _Collector(Collector):
    def __init__(self, vitals: FleetVitals, states: States) -> None:
        self._vitals, self._states = vitals, states
        self._kept: tuple[float, Counter[PartnerState]] | None = None

    def collect(self) -> Iterator[Metric]:
        found = self._counted()
        up = GaugeMetricFamily("billingsync_database_up", "Whether the database could be read for this answer.")
        up.add_metric([], 0.0 if found is None else 1.0)
        yield up
        yield InfoMetricFamily("billingsync_build", "What runs here.", {"version": __version__})
        yield from _work(self._vitals)
        partners = GaugeMetricFamily(
            "billingsync_fleet_partners", "Partners of the whole fleet by state.", labels=["state"]
        )
        for state in PartnerState if found is not None else ():
            partners.add_metric([state], found[state] if found else 0)
        yield partners

    def _counted(self) -> Counter[PartnerState] | None:
        now = self._vitals.clock()
        if self._kept is None or now - self._kept[0] > KEPT_S:
            try:
                self._kept = (now, self._states())
            except LedgerError:
                self._kept = None
                return None
        return self._kept[1]


def _work(vitals: FleetVitals) -> Iterator[Metric]:
    alive, ready = float(not vitals.ills()), float(not vitals.unready())
    yield GaugeMetricFamily("billingsync_fleet_alive", "Whether /healthz is well: signs of life.", alive)
    yield GaugeMetricFamily("billingsync_fleet_ready", "Whether /readyz is well: database and engine reached.", ready)
    yield GaugeMetricFamily("billingsync_fleet_slots", "Partners that this worker works for at a time.", vitals.slots)
    busy = len(vitals.children)
    yield GaugeMetricFamily("billingsync_fleet_slots_busy", "Cycles that run right now.", busy)
    cycles = CounterMetricFamily("billingsync_fleet_cycles", "Cycles by how they ended.", labels=["outcome"])
    for outcome, number in sorted(vitals.cycles.items()):
        cycles.add_metric([outcome], number)
    yield cycles
    deaths = CounterMetricFamily("billingsync_fleet_children_killed", "Cycles that died, by cause.", labels=["cause"])
    for cause in ("memory", "time", "signal", "exit"):
        deaths.add_metric([cause], vitals.deaths[cause])
    yield deaths
    late = HistogramMetricFamily(
        "billingsync_fleet_lateness_seconds", "Of cycles that posted: from when they were due until all was posted."
    )
    sums = 0.0
    buckets: list[tuple[str, float]] = []
    for bound, ended in zip((*(f"{one:g}" for one in LATENESS_S), "+Inf"), vitals.lateness, strict=True):
        sums += ended
        buckets.append((bound, sums))
    late.add_metric([], buckets, vitals.lateness_sum)
    yield late
    yield CounterMetricFamily("billingsync_fleet_lease_losses", "Cycles that lost their lease.", vitals.lease_losses)
    yield CounterMetricFamily(
        "billingsync_fleet_budget_wait_seconds", "What cycles waited for a call's turn.", vitals.waited_s
    )
    jobs = GaugeMetricFamily("billingsync_fleet_engine_jobs", "Jobs of the whole fleet.", labels=["state"])
    for state in ("queued", "running"):
        jobs.add_metric([state], vitals.engine.get(state, 0))
    yield jobs
    oldest = vitals.engine.get("oldest_s", 0)
    yield GaugeMetricFamily("billingsync_fleet_engine_oldest_seconds", "How long the oldest job is queued.", oldest)

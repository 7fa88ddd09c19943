"""A model of a fleet's day of release: cycles, slots, call budgets, processors, leases and kills, without any of them.

Every partner's month is released at once. A cycle waits for its calls and needs a processor for some of its time; a
killed worker's cycles begin again elsewhere when their leases are over, without what they had posted."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

# Measured, see docs/fleet-grow.md. One small partner's month costs the first part, each client some more.
CPU_S, CPU_A_CLIENT_S = 0.6, 0.022
CALLS, CALLS_A_CLIENT = 12, 1.06  # at HaloPSA, which is the bound
CALL_S = 0.2
CALLS_A_MINUTE = 50
COMMITS, COMMITS_A_CLIENT = 90, 1.0
MEDIAN_CLIENTS, MOST_CLIENTS, SPREAD = 60.0, 2000, 1.18  # of partners, as far as is known; their logarithms are normal
BETWEEN_S = 0.4  # from the end of one cycle to the beginning of the next in the same slot
AGAIN_S = 5.0  # to find out what was posted, before a cycle that was killed goes on
BACK_S = 30.0  # until systemd has started a killed worker again
LEASE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One partner's work: seconds without a processor, and with one; calls at HaloPSA and commits."""

    wait_s: float
    cpu_s: float
    calls: int = 0
    commits: int = 0

    @property
    def alone_s(self) -> float:
        return self.wait_s + self.cpu_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    workers: int
    slots: int  # of each worker
    kill_every_s: float = 0.0  # 0: nobody is killed
    cores: float = math.inf  # of all machines together
    lease_s: float = LEASE_S
    between_s: float = BETWEEN_S
    longest_first: bool = True
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """`late_s`: after so long half of the partners are posted, 95 of 100, and all of them."""

    partners: int
    late_s: tuple[float, float, float]
    ideal_s: float  # slot-seconds over slots, or the largest partner's own time
    slot_s: float
    cpu_s: float
    calls: int
    commits: int
    kills: int
    begun_again: int
    slots_used: int  # at once, at the most
    connections: int


def of_clients(clients: int) -> Month:
    """The month of a partner of so many clients, by what was measured."""
    calls = CALLS + math.ceil(CALLS_A_CLIENT * clients)
    paced = 60.0 * ((calls - 1) // CALLS_A_MINUTE)
    return Month(
        wait_s=max(calls * CALL_S, paced),
        cpu_s=CPU_S + CPU_A_CLIENT_S * clients,
        calls=calls,
        commits=COMMITS + math.ceil(COMMITS_A_CLIENT * clients),
    )


def typical(partners: int, seed: int = 1) -> list[Month]:
    """So many partners as there are: many small ones, few large ones."""
    dice = random.Random(f"{seed}:partners")  # noqa: S311  # repeatable is the point
    sizes = (MEDIAN_CLIENTS * math.exp(dice.gauss(0, SPREAD)) for _ in range(partners))
    clients = [max(1, min(MOST_CLIENTS, round(size))) for size in sizes]
    if partners >= 500:
        clients[0] = MOST_CLIENTS
    return [of_clients(one) for one in clients]


def measured(lengths: Mapping[str, float], partners: int, seed: int = 1) -> list[Month]:
    """So many partners like those whose cycles took so many seconds; first they themselves."""
    dice = random.Random(f"{seed}:more")  # noqa: S311  # repeatable is the point
    known = list(lengths.values())
    chosen = known[:partners] + [dice.choice(known) for _ in range(partners - len(known))]
    return [Month(wait_s=max(one - min(CPU_S, one), 0.0), cpu_s=min(CPU_S, one)) for one in chosen]


@dataclass(slots=True)
class _Cycle:
    month: Month
    left: float = 1.0  # of its work
    worker: int = -1


class _Fleet:
    def __init__(self, months: Sequence[Month], shape: Shape) -> None:
        self.shape, self.now = shape, 0.0
        self.dice = random.Random(f"{shape.seed}:kills")  # noqa: S311  # repeatable is the point
        self.queue = [_Cycle(one) for one in months]
        if shape.longest_first:
            self.queue.sort(key=lambda one: -one.month.alone_s)
        self.queue.reverse()  # the next one is the last
        self.free = [shape.slots] * shape.workers
        self.running: list[_Cycle] = []
        self.later: list[tuple[float, int, _Cycle | int]] = []  # when a cycle may begin again, or a worker is back
        self.number = self.kills = self.begun_again = self.most = 0
        self.posted: list[float] = []
        self.busy_s = 0.0

    def run(self) -> None:
        kill_at = self.shape.kill_every_s or math.inf
        while self.queue or self.running or any(isinstance(one[2], _Cycle) for one in self.later):
            self._begin()
            slower = self._slower()
            ends = [(self.now + one.left * _takes(one.month, slower, self.shape), one) for one in self.running]
            next_end = min((at for at, _ in ends), default=math.inf)
            at = min(next_end, kill_at, self.later[0][0] if self.later else math.inf)
            self._pass(at, slower)
            if at == kill_at:
                self._kill()
                kill_at += self.shape.kill_every_s
            while self.later and self.later[0][0] <= at:
                what = heapq.heappop(self.later)[2]
                if isinstance(what, _Cycle):
                    self.queue.append(what)
                else:
                    self.free[what] = self.shape.slots
            for one in [one for one in self.running if one.left <= 1e-9]:
                self.running.remove(one)
                self.free[one.worker] += 1
                self.posted.append(at)

    def _begin(self) -> None:
        while self.queue and max(self.free) > 0:
            one = self.queue.pop()
            one.worker = self.free.index(max(self.free))
            self.free[one.worker] -= 1
            self.running.append(one)
        self.most = max(self.most, len(self.running))

    def _slower(self) -> float:
        """By how much the processors are too few for what runs."""
        wanted = sum(one.month.cpu_s / _takes(one.month, 1.0, self.shape) for one in self.running)
        return max(1.0, wanted / self.shape.cores)

    def _pass(self, at: float, slower: float) -> None:
        passed = at - self.now
        for one in self.running:
            one.left -= passed / _takes(one.month, slower, self.shape)
        self.busy_s += passed * len(self.running)
        self.now = at

    def _kill(self) -> None:
        worker = self.dice.randrange(self.shape.workers)
        gone = [one for one in self.running if one.worker == worker]
        if not gone and self.free[worker] == 0:
            return  # it is not back yet
        self.kills += 1
        for one in gone:
            self.running.remove(one)
            one.left = min(1.0, one.left + AGAIN_S / _takes(one.month, 1.0, self.shape))
            # What is due is looked at four times in a lease.
            self._later(self.shape.lease_s + self.dice.uniform(0, self.shape.lease_s / 4), one)
            self.begun_again += 1
        self.free[worker] = 0
        self._later(BACK_S, worker)

    def _later(self, seconds: float, what: _Cycle | int) -> None:
        self.number += 1
        heapq.heappush(self.later, (self.now + seconds, self.number, what))


def _takes(month: Month, slower: float, shape: Shape) -> float:
    """Seconds of a slot, where a processor is shared so that all takes so much longer."""
    return month.wait_s + month.cpu_s * slower + shape.between_s


def forecast(months: Sequence[Month], shape: Shape) -> Forecast:
    """What becomes of a day on which all these months are released at once."""
    fleet = _Fleet([replace(one) for one in months], shape)
    fleet.run()
    late = sorted(fleet.posted)
    slots = shape.workers * shape.slots
    slot_s = sum(_takes(one, 1.0, shape) for one in months)
    return Forecast(
        partners=len(months),
        late_s=(late[len(late) // 2], late[min(len(late) - 1, len(late) * 95 // 100)], late[-1]),
        ideal_s=max(slot_s / slots, max(one.alone_s for one in months)),
        slot_s=fleet.busy_s,
        cpu_s=sum(one.cpu_s for one in months),
        calls=sum(one.calls for one in months),
        commits=sum(one.commits for one in months),
        kills=fleet.kills,
        begun_again=fleet.begun_again,
        slots_used=fleet.most,
        connections=2 * fleet.most + 4 * shape.workers,
    )

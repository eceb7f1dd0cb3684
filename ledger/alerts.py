"""What somebody should know: decided from figures alone, told once, looked for again and again.

``holding`` decides what is so now, from figures that ``ledger.watching`` reads. Each such thing has a key; what was
told under a key is in the database, so neither a restart nor another ledger tells it again. Whether it is a budget's
share, an hour, a day or a statement, the key names the window: in the next one it may be told anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from job_contracts.money import PICO, Window, dollars
from ledger.tables import alerts
from runtime.service import Duty
from runtime.telemetry import WARNING

if TYPE_CHECKING:
    from ledger.database import Database
    from ledger.watching import Watch
    from runtime.clock import Clock
    from runtime.settings.services import Alerting
    from runtime.telemetry import Telemetry

Kind = Literal["budget", "anomaly", "unpriced", "drift"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEAST_USUAL = PICO // 4
"""What an hour is taken to cost usually, at least: with the factor 4, nothing below a dollar is an anomaly."""
LEAST_DAYS = 3
"""Days that must be known before anything is unusual."""
AT_ONCE = 500
"""Keys in one question."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What a payer has spent of a budget in one window that began at ``start`` (UTC seconds); picodollars."""

    payer: str
    """``project``, ``route``, ``key`` or ``tag``."""
    name: str
    project: str | None
    window: Window
    start: float
    budget: int
    soft: bool
    spent: int
    label: str = ""
    """What people call it, where ``name`` is an id."""


@dataclass(frozen=True, slots=True)
class HourSpend:
    """What an hour that began at ``start`` has cost so far, and what the same hour of the last days cost."""

    start: float
    spent: int
    usual: tuple[int, ...]
    """A figure for each day that is known."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Attempts of a deployment on the day that began at ``day`` whose cost is not known."""

    day: float
    deployment: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Drifted:
    """A statement that differs by more than it may."""

    provider: str
    digest: str
    first_day: float
    last_day: float
    share: float


@dataclass(frozen=True, slots=True)
class Seen:
    """All that one look has seen."""

    spending: tuple[Spending, ...] = ()
    hours: tuple[HourSpend, ...] = ()
    unpriced: tuple[Unpriced, ...] = ()
    drifted: tuple[Drifted, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell: ``key`` is what it is about, ``words`` say it, ``data`` has its figures."""

    key: str
    kind: Kind
    words: str
    project: str | None = None
    data: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """The same each time it is told, so that who hears it twice can know."""
        return sha256(self.key.encode("utf-8", "replace")).hexdigest()[:32]


def holding(seen: Seen, settings: Alerting) -> tuple[Alert, ...]:
    """All that is so now, whether it was told or not."""
    found = [
        _budget(one, share)
        for one in seen.spending
        for share in sorted(set(settings.at))
        if one.spent >= Decimal(str(share)) * one.budget and (one.spent or one.budget)
    ]
    found += [_anomaly(one, settings.anomaly) for one in seen.hours if _unusual(one, settings.anomaly)]
    found += [_unpriced(one) for one in seen.unpriced if one.attempts > 0]
    found += [_drifted(one) for one in seen.drifted]
    return tuple({alert.key: alert for alert in found}.values())


def usual(one: HourSpend) -> int | None:
    """Picodollars that the hour costs usually, ``None`` while too little is known."""
    return None if len(one.usual) < LEAST_DAYS else max(int(median(one.usual)), LEAST_USUAL)


def _unusual(one: HourSpend, factor: float) -> bool:
    known = usual(one)
    return known is not None and one.spent >= Decimal(factor) * known


def _budget(one: Spending, share: float) -> Alert:
    spent, budget = _money(one.spent), _money(one.budget)
    called = f" ({one.label})" if one.label else ""
    whose = f"{one.payer} {one.name}{called}" + (
        f" of {one.project}" if one.project and one.payer in {"tag", "key"} else ""
    )
    data = {
        "payer": one.payer,
        "name": one.name,
        "label": one.label,
        "project": one.project,
        "window": one.window,
        "start": one.start,
        "share": share,
        "spent": spent,
        "budget": budget,
        "soft": one.soft,
    }
    return Alert(
        key="\n".join(
            ("budget", one.payer, one.project or "", one.name, one.window, f"{one.start:.0f}", budget, str(share))
        ),
        kind="budget",
        words=f"{whose}: {spent} of {budget} dollars are spent in the window {one.window}: {share:.0%} or more",
        project=one.project,
        data=data,
    )


def _anomaly(one: HourSpend, factor: float) -> Alert:
    known = usual(one) or 0
    data = {"start": one.start, "spent": _money(one.spent), "usual": _money(known), "factor": factor}
    return Alert(
        key=f"anomaly\n{one.start:.0f}",
        kind="anomaly",
        words=f"the hour of {_when(one.start)} has cost {_money(one.spent)} dollars, usual are {_money(known)}",
        data=data,
    )


def _unpriced(one: Unpriced) -> Alert:
    return Alert(
        key=f"unpriced\n{one.day:.0f}\n{one.deployment}",
        kind="unpriced",
        words=f"{one.deployment}: the price of {one.attempts} attempts is not known; complete the catalogue",
        data={"day": one.day, "deployment": one.deployment, "attempts": one.attempts},
    )


def _drifted(one: Drifted) -> Alert:
    data = {"provider": one.provider, "first_day": one.first_day, "last_day": one.last_day, "share": one.share}
    return Alert(
        key=f"drift\n{one.provider}\n{one.digest}",
        kind="drift",
        words=f"{one.provider}: its statement differs from ours by up to {one.share:.1%}: python -m ledger reconcile",
        data=data,
    )


def _money(amount: int) -> str:
    return f"{dollars(amount).normalize():f}"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:00 UTC")


class Alerts(Duty):
    """Looks every so often, and tells what was not told: log, metric, and a row that waits to be posted."""

    def __init__(
        self, database: Database, watch: Watch, clock: Clock, telemetry: Telemetry, settings: Alerting
    ) -> None:
        super().__init__("alerts", telemetry)
        self._database = database
        self._watch = watch
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Until it is to stop."""
        while await self.pause(self._settings.every):
            try:
                await self.look()
            except (OSError, SQLAlchemyError) as error:
                self.telemetry.emit("alerts.failed", WARNING, error=type(error).__name__)

    async def look(self) -> Sequence[Alert]:
        """One look; returns what was told."""
        now = self._clock.wall()
        found = holding(await self._watch.look(now), self._settings)
        told = await self._keep(found, now)
        active = Counter(alert.kind for alert in found)
        for kind in KINDS:
            self.telemetry.emit("alerts.active", kind=kind, value=active[kind])
        return told

    async def _keep(self, found: Iterable[Alert], now: float) -> list[Alert]:
        """Note and tell those that nobody has noted; two ledgers that look at once note each once.

        The log has it before the note is for good: who dies in between tells it again, under the same id, and does not
        keep it to himself.
        """
        every = {alert.id: alert for alert in found}
        due = now if self._settings.webhook else None
        dialect = postgresql if self._database.kind == "postgresql" else sqlite
        told: list[Alert] = []
        async with self._database.engine.connect() as connection:
            for some in _chunks(list(every)):
                known = (await connection.execute(select(alerts.c.id).where(alerts.c.id.in_(some)))).scalars().all()
                told += [every[one] for one in some if one not in set(known)]
        if not told:
            return []
        async with self._database.writing() as connection:
            rows = [{**_row(alert, now), "due": due, "tries": 0} for alert in told]
            fresh = []
            for alert, row in zip(told, rows, strict=True):
                done = await connection.execute(dialect.insert(alerts).values(row).on_conflict_do_nothing())
                fresh += [alert] if done.rowcount else []
            for alert in fresh:
                told_of = {"alert": alert.id, "kind": alert.kind, "words": alert.words}
                self.telemetry.emit("alert.told", WARNING, **{**alert.data, **told_of})
        return fresh


def _row(alert: Alert, now: float) -> dict[str, Any]:
    body = {"id": alert.id, "kind": alert.kind, "at": now, "words": alert.words, "data": alert.data}
    return {
        "id": alert.id,
        "key": f"{alert.key.replace(chr(0), '')[:360]}\n{alert.id}",
        "kind": alert.kind,
        "project": alert.project,
        "at": now,
        "body": json.dumps(body, ensure_ascii=True),
    }


def _chunks(some: list[str]) -> Iterable[list[str]]:
    return (some[at : at + AT_ONCE] for at in range(0, len(some), AT_ONCE))

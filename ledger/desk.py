"""Answers questions about spend on ``subjects.ledger_desk(operation)``; whatever is asked, there is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from job_contracts import subjects
from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.spend import (
    AskAttempts,
    AskComparison,
    AskDrafts,
    AskForecast,
    AskSpend,
    Comparison,
    LedgerOperation,
)
from ledger.budgets import Forecaster
from ledger.comparison import EVERYWHERE, Other, compared
from ledger.drafts import Verifications
from ledger.narrowing import names_of
from ledger.periods import segments, whole_hours
from ledger.reports import Reports, refuse_zeros, sums_of, total_of
from ledger.state import state
from ledger.sums import Question
from runtime.agreed import configured
from runtime.clock import SystemClock
from runtime.telemetry import WARNING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from catalogue.rows import ProviderRow
    from runtime.bus.port import Bus, Message, Subscription
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry

QUEUE = "ledger"
"""Of several ledgers one answers."""
TIMEOUT = 20.0
"""Seconds one answer may take the database."""
AT_ONCE = 4
"""Questions that are before the database at once."""
AGAIN = 2.0
"""Seconds after which a question may be asked again that the database kept us from answering."""
ROOM = 0.9
"""Share of the largest message that an answer may take."""

Paged = TypeVar("Paged", AskSpend, AskAttempts)


class Database(Protocol):
    """What a desk needs of the ledger's database."""

    @property
    def engine(self) -> AsyncEngine: ...


class Desk:
    """Serves ``LedgerOperation``. Starting and stopping twice are safe."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        catalogue: Mapping[str, ProviderRow],
        config: Config,
        telemetry: Telemetry,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._bus = bus
        self._engine = database.engine
        self._reports = Reports(database.engine)
        self._forecaster = Forecaster(self._reports, config)
        self._verifications = Verifications(self._reports, config, self._other)
        self._catalogue = catalogue
        self._config = config
        self._telemetry = telemetry
        self._clock = clock or SystemClock()
        self._configured = configured(config, self._clock.wall())
        self._free = asyncio.Semaphore(AT_ONCE)
        self._open: list[Subscription] = []

    async def start(self) -> None:
        """Begin to answer."""
        if self._open:
            return
        operations: dict[LedgerOperation, Callable[[bytes], Awaitable[bytes]]] = {
            "spend": self._spend,
            "attempts": self._attempts,
            "compare": self._compare,
            "forecast": self._forecast,
            "drafts": self._drafts,
            "state": self._state,
        }
        for name, answer in operations.items():
            responder = self._behind_the_border(name, answer)
            self._open.append(await self._bus.respond(subjects.ledger_desk(name), responder, queue=QUEUE))

    async def stop(self) -> None:
        """Stop answering."""
        while self._open:
            await self._open.pop().close()

    def _behind_the_border(
        self, name: str, answer: Callable[[bytes], Awaitable[bytes]]
    ) -> Callable[[Message], Awaitable[bytes]]:
        async def responded(message: Message) -> bytes:
            try:
                async with asyncio.timeout(TIMEOUT), self._free:
                    return await answer(message.data)
            except ContractError as error:
                return _refused(FailureKind.BAD_REQUEST, str(error), error.remedy, field=error.field)
            except TimeoutError:
                why, remedy = "the ledger's database takes too long", "ask for a shorter period, or again later"
            except (SQLAlchemyError, OSError) as error:
                self._telemetry.emit("ledger.desk_failed", WARNING, operation=name, error=type(error).__name__)
                why, remedy = "the ledger's database did not answer", "ask again in a moment"
            return _refused(FailureKind.INTERNAL, why, remedy, again=AGAIN)

        return responded

    async def _spend(self, data: bytes) -> bytes:
        asked = _read(AskSpend, data)
        return await self._paged(asked, lambda one: self._reports.spend(one, self._clock.wall()))

    async def _attempts(self, data: bytes) -> bytes:
        asked = _read(AskAttempts, data)
        return await self._paged(asked, lambda one: self._reports.attempts(one, self._clock.wall()))

    async def _paged(self, asked: Paged, answer: Callable[[Paged], Awaitable[Wire]]) -> bytes:
        """The longest page that fits into a message."""
        while True:
            told = encode(await answer(asked))
            if len(told) <= self._bus.max_payload * ROOM or asked.limit == 1:
                return told
            asked = asked.model_copy(update={"limit": max(1, asked.limit // 4)})

    async def _compare(self, data: bytes) -> bytes:
        asked = _read(AskComparison, data)
        now = self._clock.wall()
        through = await self._reports.through()
        groups = await self._reports.groups(
            Question(
                segments(asked.since, asked.until),
                by=("project", "route", "deployment"),
                names=names_of(asked),
                reason=asked.reason,
            )
        )
        seen = [sums_of(one) for one in groups]
        start, end = whole_hours(asked.since, asked.until)
        named = asked.against or tuple(
            dict.fromkeys(one for route in self._config.routes.values() for one in route.deployments)
        )
        rows = compared(seen, [self._other(one) for one in named], min(now, asked.until or now))
        return encode(
            Comparison(
                through=through,
                lag=None if through is None else max(0.0, now - through),
                since=float(start),
                until=None if end is None else float(end),
                seen=total_of(groups),
                rows=rows,
                approximated=EVERYWHERE,
            )
        )

    def _other(self, deployment: str) -> Other:
        """What the catalogue knows of a deployment; its provider is one of the configuration, or of the catalogue."""
        name, slash, model = deployment.partition("/")
        if not slash or not model:
            message = f"against: {deployment!r:.60} is no deployment"
            raise ContractError(message, field="against", remedy="write provider/model")
        provider = self._config.providers.get(name)
        row = self._catalogue.get((provider.catalogue if provider is not None else None) or name)
        if row is None:
            return Other(deployment)
        return Other(deployment, row.prices(model), row.model(model).context_window)

    async def _drafts(self, data: bytes) -> bytes:
        asked = _read(AskDrafts, data)
        if asked.route is not None and asked.route not in self._config.routes:
            known = ", ".join(sorted(self._config.routes))
            raise ContractError(
                f"route: there is no route {asked.route!r:.60}", field="route", remedy=f"one of: {known}"
            )
        return encode(await self._verifications.report(asked, self._clock.wall()))

    async def _forecast(self, data: bytes) -> bytes:
        asked = _read(AskForecast, data)
        return encode(await self._forecaster.forecast(asked, self._clock.wall()))

    async def _state(self, _: bytes) -> bytes:
        told = await state(self._engine, self._clock.wall())
        return encode(told.model_copy(update={"configured": self._configured}))


Asked = TypeVar("Asked", AskSpend, AskAttempts, AskComparison, AskDrafts, AskForecast)


def _read(kind: type[Asked], data: bytes) -> Asked:
    asked = decode(kind, data)
    refuse_zeros(asked)
    return asked


def _refused(kind: FailureKind, message: str, remedy: str, *, field: str = "", again: float | None = None) -> bytes:
    failure = Failure(kind=kind, message=message, remedy=remedy or None, field=field or None, retry_after=again)
    return encode(Refusal(refused=failure))

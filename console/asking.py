"""Questions to the desks of the scheduler, the ledger and the edges in the operator's name.

Nothing is kept, so an answer is as old as the question.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from job_contracts import subjects
from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.dead import (
    AskCauses,
    AskDeadLetter,
    AskDeadLetters,
    AskHandle,
    Causes,
    DeadLetters,
    FoundDead,
    HandledUpTo,
)
from job_contracts.desk import Refusal
from job_contracts.failures import FailureKind
from job_contracts.finding import AskCancels, AskFind, AskJob, Cancels, FoundJob, JobPage
from job_contracts.key_asking import (
    AskKeys,
    AskNewKey,
    AskRevocation,
    AskRotation,
    KeyDone,
    KeyOperation,
    KeyPage,
    ToldEdges,
)
from job_contracts.operating import AskAudit, AskNote, AskOrder, AuditPage, Ordered, Overview
from job_contracts.spend import (
    AskAttempts,
    AskComparison,
    AskDrafts,
    AskForecast,
    AskSpend,
    AttemptPage,
    Comparison,
    DraftReport,
    Forecast,
    LedgerState,
    Spend,
)
from job_contracts.trials import AskExperiments, AskStop, ToldExperiments
from runtime.bus.port import BusError, OutcomeUnknown, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pydantic import ValidationError

    from runtime.bus.port import Bus

OPERATOR = "-"
"""What stands in a project's place when the operator asks."""
TIMEOUT = 5.0
"""Seconds a desk may take."""
PATIENCE = 20.0
"""Seconds the ledger may take: what a person asks of years is slow and is wanted all the same."""

A = TypeVar("A", bound=Wire)
T = TypeVar("T")


class NoAnswer(Exception):
    """Nobody answered, or not in time; ``unknown``: what was asked to be done may have been."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class Declined(Exception):
    """The desk does not do what was asked; the text says why, for people."""


def fault(error: ValidationError) -> str:
    """What is wrong with what was to be asked: the field and why, without what stood in it."""
    first = error.errors(include_url=False, include_input=False)[0]
    where, why = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{where}: {why}" if where else why


async def soon(asking: Awaitable[T], seconds: float | None) -> tuple[T | None, str]:
    """An answer, or in words why there is none: for what a page can do without. ``None``: as long as it takes."""
    try:
        async with asyncio.timeout(seconds):
            return await asking, ""
    except TimeoutError:
        return None, f"no answer within {seconds:g} s"
    except (NoAnswer, Declined) as error:
        return None, str(error)


class Asking:
    """The desk's operations that the console uses. Each raises NoAnswer or Declined."""

    def __init__(self, bus: Bus, *, timeout: float = TIMEOUT) -> None:
        self._bus, self._timeout = bus, timeout

    async def overview(self) -> Overview:
        """One moment of the leader."""
        return await self._ask("overview", None, Overview)

    async def order(self, asked: AskOrder) -> Ordered:
        """Have something done; it is in the audit, and in force, or neither. May be asked again."""
        return await self._ask("order", asked, Ordered)

    async def audit(self, asked: AskAudit) -> AuditPage:
        """Who did what."""
        return await self._ask("audit", asked, AuditPage)

    async def note(self, asked: AskNote) -> Ordered:
        """Have it recorded that somebody did something."""
        return await self._ask("note", asked, Ordered)

    async def experiments(self, asked: AskExperiments) -> ToldExperiments:
        """How experiments stand."""
        return await self._ask("experiments", asked, ToldExperiments)

    async def stop_arm(self, asked: AskStop) -> ToldExperiments:
        """Stop a challenger for good; one that is stopped already stays so. May be asked again."""
        return await self._ask("stop_arm", asked, ToldExperiments)

    async def jobs(self, asked: AskFind) -> JobPage:
        """Jobs without a result."""
        return await self._ask("jobs", asked, JobPage)

    async def job(self, asked: AskJob) -> FoundJob:
        """Everything about one."""
        return await self._ask("job", asked, FoundJob)

    async def cancel(self, asked: AskCancels) -> Cancels:
        """Have jobs cancelled. May be asked again."""
        return await self._ask("cancel_jobs", asked, Cancels)

    async def dead_causes(self, asked: AskCauses) -> Causes:
        """Dead letters added up by cause, as far as one answer comes."""
        return await self._ask("dead_causes", asked, Causes)

    async def dead_letters(self, asked: AskDeadLetters) -> DeadLetters:
        """A page of them."""
        return await self._ask("dead_letters", asked, DeadLetters)

    async def dead_letter(self, asked: AskDeadLetter) -> FoundDead:
        """One of them, without its body."""
        return await self._ask("dead_letter", asked, FoundDead)

    async def dead_handle(self, asked: AskHandle) -> HandledUpTo:
        """Have some of them replayed or discarded. May be asked again."""
        return await self._ask("dead_handle", asked, HandledUpTo)

    async def _ask(self, operation: str, asked: Wire | None, kind: type[A]) -> A:
        return await _asked(
            self._bus, _Desk("scheduler", subjects.api(OPERATOR, operation), self._timeout), asked, kind
        )


class Ledger:
    """The ledger's desk. Each method raises NoAnswer or Declined."""

    def __init__(self, bus: Bus, *, timeout: float = PATIENCE) -> None:
        self._bus, self._timeout = bus, timeout

    async def spend(self, asked: AskSpend) -> Spend:
        """Sums of a period."""
        return await self._ask("spend", asked, Spend)

    async def attempts(self, asked: AskAttempts) -> AttemptPage:
        """The attempts behind a sum."""
        page = await self._ask("attempts", asked, AttemptPage)
        if asked.told_too_much(page):
            raise Declined("the ledger is older and knows nothing of arms; bring it to this console's version")
        return page

    async def compare(self, asked: AskComparison) -> Comparison:
        """What the same traffic would have cost elsewhere."""
        return await self._ask("compare", asked, Comparison)

    async def drafts(self, asked: AskDrafts) -> DraftReport:
        """What verifiers said of answers."""
        return await self._ask("drafts", asked, DraftReport)

    async def forecast(self, asked: AskForecast) -> Forecast:
        """Where budgets will be at the end of their windows."""
        return await self._ask("forecast", asked, Forecast)

    async def state(self) -> LedgerState:
        """What its database is, and how far it has read."""
        return await self._ask("state", None, LedgerState)

    async def _ask(self, operation: str, asked: Wire | None, kind: type[A]) -> A:
        return await _asked(self._bus, _Desk("ledger", subjects.ledger_desk(operation), self._timeout), asked, kind)


class Edges:
    """What edges answer the operator. Each method raises NoAnswer or Declined."""

    def __init__(self, bus: Bus, *, timeout: float = TIMEOUT) -> None:
        self._bus, self._timeout = bus, timeout

    async def keys(self, asked: AskKeys) -> KeyPage:
        """Which keys there are."""
        return await self._ask("keys", asked, KeyPage)

    async def create(self, asked: AskNewKey) -> KeyDone:
        """Have a key taken in that was made here. May be asked again."""
        return await self._ask("create", asked, KeyDone)

    async def rotate(self, asked: AskRotation) -> KeyDone:
        """Have a key take the place of another. May be asked again."""
        return await self._ask("rotate", asked, KeyDone)

    async def revoke(self, asked: AskRevocation) -> KeyDone:
        """End a key. May be asked again."""
        return await self._ask("revoke", asked, KeyDone)

    async def edges(self) -> ToldEdges:
        """Which edges there are."""
        return await self._ask("edges", None, ToldEdges)

    async def _ask(self, operation: KeyOperation, asked: Wire | None, kind: type[A]) -> A:
        return await _asked(self._bus, _Desk("gateway", subjects.key_desk(operation), self._timeout), asked, kind)


@dataclass(frozen=True, slots=True)
class _Desk:
    """Whom, where, and for how many seconds."""

    name: str
    subject: str
    timeout: float


async def _asked(bus: Bus, desk: _Desk, asked: Wire | None, kind: type[A]) -> A:
    data = b"{}" if asked is None else encode(asked)
    try:
        found = await bus.request(desk.subject, data, timeout=desk.timeout)
    except Unreachable as error:
        nobody = "no scheduler leads" if desk.name == "scheduler" else f"no {desk.name} answers"
        raise NoAnswer(f"{nobody} at the moment") from error
    except OutcomeUnknown as error:
        raise NoAnswer(f"the {desk.name} did not answer in time", unknown=True) from error
    except BusError as error:
        raise NoAnswer("the broker did not take the question") from error
    if not found.data.startswith(b'{"refused"'):
        try:
            return decode(kind, found.data)
        except ContractError as error:
            raise NoAnswer(f"the {desk.name}'s answer cannot be read: {error.field}", unknown=True) from error
    failure = decode(Refusal, found.data).refused
    if failure.kind is FailureKind.INTERNAL:
        raise NoAnswer(failure.message, unknown=True)
    raise Declined(f"{failure.message}; {failure.remedy}" if failure.remedy else failure.message)

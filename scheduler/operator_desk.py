"""The desk's answers to operators alone: one moment of everything, their orders, and who ordered what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.codec import ContractError, decode, encode
from job_contracts.operating import AIMS, AskAudit, AskNote, AskOrder, ToldLeader, ToldWorker
from scheduler.finding_desk import FindingDesk
from scheduler.policy.overview import Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from scheduler.lifeline import Lifeline
    from scheduler.orders import Standings
    from scheduler.term import Term

OPERATOR = "-"
"""In place of a project."""
MOST_WORKERS = 200
"""Workers of one pool that are told one by one; slots are those of all."""


class OperatorDesk:
    """Serves ``overview``, ``order``, ``note``, ``audit`` and what ``FindingDesk`` does."""

    def __init__(self, term: Term, orders: Standings, lifeline: Lifeline) -> None:
        self._term = term
        self._orders = orders
        self._lifeline = lifeline
        self._finding = FindingDesk(term)

    def operations(self) -> Mapping[str, Callable[[str, bytes], Awaitable[bytes]]]:
        """What it answers, by name."""
        answers: dict[str, Callable[[bytes], Awaitable[bytes]]] = {
            "overview": self._overview,
            "order": self._order,
            "note": self._note,
            "audit": self._audit,
            **self._finding.operations(),
        }
        return {name: operators_alone(answer) for name, answer in answers.items()}

    async def _overview(self, _: bytes) -> bytes:
        term = self._term
        told = Told(
            at=term.clock.wall(),
            leader=ToldLeader(
                owner=term.lease.owner,
                term=term.lease.epoch,
                since=self._orders.since,
                configured=term.configured,
            ),
            orders=self._orders.in_force(),
            workers=self._workers(),
            scales=term.figures.fresh or {},
            unread=sum(those.count for those in term.overflow.projects.values()),
        )
        return encode(term.board.overview(told, term.clock.monotonic()))

    def _workers(self) -> dict[str, list[ToldWorker]]:
        now = self._term.clock.monotonic()
        found: dict[str, list[ToldWorker]] = {}
        for (pool, name), seen in self._lifeline.workers.items():
            workers = found.setdefault(pool, [])
            if len(workers) < MOST_WORKERS:
                workers.append(
                    ToldWorker(
                        name=name,
                        slots=seen.slots,
                        draining=seen.draining,
                        attempts=len(seen.holds),
                        silent=max(0.0, now - seen.at),
                        configured=seen.configured,
                    )
                )
        return found

    async def _order(self, data: bytes) -> bytes:
        asked = decode(AskOrder, data)
        problem = self._term.board.problem(asked)
        if problem is not None:
            field, message, remedy = problem
            raise ContractError(message, field=field, remedy=remedy)
        return encode(await self._orders.order(asked))

    async def _note(self, data: bytes) -> bytes:
        asked = decode(AskNote, data)
        if asked.on in AIMS:
            message = f"what is done to a {asked.on} is an order, not a note"
            raise ContractError(message, field="on", remedy="ask for an order")
        return encode(await self._orders.note(asked))

    async def _audit(self, data: bytes) -> bytes:
        return encode(await self._orders.audit(decode(AskAudit, data)))


def operators_alone(answer: Callable[[bytes], Awaitable[bytes]]) -> Callable[[str, bytes], Awaitable[bytes]]:
    """The same, for nobody else."""

    async def answered(project: str, data: bytes) -> bytes:
        if project != OPERATOR:
            remedy = "ask with the services' login: penstock pools --url nats://…"
            raise ContractError("that is the operator's alone", field="project", remedy=remedy)
        return await answer(data)

    return answered

"""Answers operators' questions about keys by message: what the admin's routes do, for a console that makes keys.

Nobody but the operator is answered: the broker lets no project publish here, and an answer goes to no inbox but the
operator's. Whoever has the services' login may ask all the same, and gains nothing by it that the login does not give:
without the pepper nobody makes a hash that a key fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.key_desk import Minted
from job_contracts import subjects
from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.key_asking import (
    LONGEST,
    AskKeys,
    AskNewKey,
    AskRevocation,
    AskRotation,
    KeyDone,
    KeyOperation,
    KeyPage,
    ToldEdges,
    ToldKey,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gateway.key_desk import KeyDesk
    from job_contracts.key_asking import ToldEdge
    from job_contracts.keys import KeyRecord
    from runtime.bus.port import Bus, Message, Subscription
    from runtime.clock import Clock
    from runtime.settings import Config

OPERATOR = "-"
"""What stands in a project's place in the operator's inbox."""
QUEUE = "edges"
"""Of several edges one answers."""


class KeyAnswers:
    """Serves ``keys``, ``create``, ``rotate``, ``revoke`` and ``edges``. Starting and stopping twice are safe."""

    def __init__(
        self,
        desk: KeyDesk,
        config: Config,
        *,
        bus: Bus,
        clock: Clock,
        fresh: Callable[[float], bool],
        edges: Callable[[], Iterable[ToldEdge]],
    ) -> None:
        """``fresh``: whether this edge knows all keys, by the monotonic clock; ``edges``: which are there."""
        self._desk, self._config = desk, config
        self._bus, self._clock = bus, clock
        self._fresh, self._edges = fresh, edges
        self._open: list[Subscription] = []

    async def start(self) -> None:
        """Begin to answer."""
        if self._open:
            return
        operations: dict[KeyOperation, Callable[[bytes], Awaitable[Wire]]] = {
            "keys": self._keys,
            "create": self._create,
            "rotate": self._rotate,
            "revoke": self._revoke,
            "edges": self._told_edges,
        }
        for name, answer in operations.items():
            subject = subjects.key_desk(name)
            self._open.append(await self._bus.respond(subject, _behind_the_border(answer), queue=QUEUE, inbox=_inbox))

    async def stop(self) -> None:
        """Stop answering."""
        while self._open:
            await self._open.pop().close()

    async def _keys(self, data: bytes) -> Wire:
        asked, now = decode(AskKeys, data), self._clock.wall()
        self._know_all()
        records = [one for one in reversed(self._desk.all()) if asked.project in (None, one.project)]
        in_force: dict[str, int] = {}
        for one in records:
            if one.ended(now) is None:
                in_force[one.project] = in_force.get(one.project, 0) + 1
        wanted = [one for one in records if asked.id in (None, one.id)]
        if asked.valid is not None:
            wanted = [one for one in wanted if (one.ended(now) is None) is asked.valid]
        rest = wanted if asked.after is None else wanted[_place(wanted, asked.after) :]
        page = tuple(_told(one, now) for one in rest[: asked.limit])
        after = page[-1].id if len(rest) > len(page) else None
        return KeyPage(keys=page, total=len(wanted), in_force=in_force, after=after)

    async def _create(self, data: bytes) -> Wire:
        asked, now = decode(AskNewKey, data), self._clock.wall()
        self._know_all()
        _check(asked, self._config, now)
        record = await self._desk.enter(Minted(asked.id, asked.hash), asked.project, asked.name, asked.scope)
        return KeyDone(key=_told(record, now))

    async def _rotate(self, data: bytes) -> Wire:
        asked, now = decode(AskRotation, data), self._clock.wall()
        self._know_all()
        overlap = self._config.gateway.key_overlap if asked.overlap is None else asked.overlap
        new, old = await self._desk.replace(Minted(asked.id, asked.hash), asked.old, overlap)
        return KeyDone(key=_told(new, now), old=_told(old, now))

    async def _revoke(self, data: bytes) -> Wire:
        record = await self._desk.revoke(decode(AskRevocation, data).id)
        return KeyDone(key=_told(record, self._clock.wall()))

    async def _told_edges(self, _: bytes) -> Wire:
        return ToldEdges(edges=tuple(sorted(self._edges(), key=lambda one: one.name)))

    def _know_all(self) -> None:
        if not self._fresh(self._clock.monotonic()):
            message = "this gateway has not heard lately which keys there are"
            raise Failed(ApiError(503, "keys_unknown", message, remedy="ask again in a moment"))


def _behind_the_border(answer: Callable[[bytes], Awaitable[Wire]]) -> Callable[[Message], Awaitable[bytes]]:
    async def responded(message: Message) -> bytes:
        try:
            return encode(await answer(message.data))
        except ContractError as error:
            return _refused(FailureKind.BAD_REQUEST, str(error), error.remedy)
        except Failed as failed:
            told = failed.error
            unknown = told.code == "outcome_unknown"
            return _refused(FailureKind.INTERNAL if unknown else FailureKind.BAD_REQUEST, told.message, told.remedy)

    return responded


def _refused(kind: FailureKind, message: str, remedy: str | None) -> bytes:
    return encode(Refusal(refused=Failure(kind=kind, message=message, remedy=remedy or None)))


def _inbox(_: Message) -> tuple[str, ...]:
    return (f"{subjects.inbox_prefix(OPERATOR)}.",)


def _check(asked: AskNewKey, config: Config, now: float) -> None:
    """What the admin's routes ask of a new key. Raises ``Failed``."""
    scope = asked.scope
    if asked.project not in config.projects:
        raise invalid(f"there is no project {asked.project!r}", param="project")
    for route in scope.routes or ():
        if route not in config.routes:
            raise invalid(f"there is no route {route!r}", param="routes")
    if scope.routes == () or scope.lanes == ():
        raise invalid("a key without any route or lane could do nothing", param="scope")
    if scope.expires is not None and not now < scope.expires <= now + LONGEST:
        raise invalid("it is to expire at a moment to come, within ten years", param="expires")
    if scope.budget is not None and not scope.budget.amounts():
        raise invalid("the budget bounds nothing", param="budget")


def _place(records: list[KeyRecord], after: str) -> int:
    """Where the page after a key begins. Raises ``Failed`` if that is not among them."""
    for place, one in enumerate(records, 1):
        if one.id == after:
            return place
    raise invalid(f"there is no key {after!r} in this list", param="after")


def _told(record: KeyRecord, now: float) -> ToldKey:
    said = record.model_dump(include={"id", "project", "name", "static", "created", "revoked", "replaced_by"})
    return ToldKey(**said, scope=record.scope, replaces=record.replaces, ended=record.ended(now), end=record.end)

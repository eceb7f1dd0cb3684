"""Whatever comes, however often, in whatever order, and whatever breaks: the ledger's tables are a book kept by hand.

A machine tells facts, lets two ledgers read them in pieces of any size, has the database refuse at any statement and at
the commit, lets processes die, time pass, old attempts go and projects be forgotten. After each step the tables are
read in whole and held against ``tests.support.ledger_book``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete, event, select

from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact
from job_contracts.failures import FailureKind
from job_contracts.trials import Trial
from ledger import retention
from ledger.bookings import booking
from ledger.database import Database
from ledger.retention import Retention, forget
from ledger.store import Moved, Store
from ledger.tables import forgotten, metadata
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.ledger_book import Book, tables, total
from tests.support.ledger_facts import fact
from tests.support.postgres import Postgres, fresh

HOUR, DAY = 3_600.0, 86_400.0
NOON = 1_789_992_000.0
KEPT = 30 * DAY
"""Seconds that LEDGER keeps a message."""
KEEP_DAYS = 400


class Refused(OSError):
    """The database did not do it, or did it and could not say so."""


class Unreliable:
    """Makes a database refuse: the statement of a number, or the next commit, before or after it is done."""

    def __init__(self, database: Database) -> None:
        self._where: int | str | None = None
        engine = database.engine.sync_engine
        self._do = engine.dialect.do_commit
        event.listen(engine, "before_cursor_execute", self._executing)
        engine.dialect.do_commit = self._committing  # type: ignore[assignment,method-assign]  # no event is behind it

    @contextmanager
    def refusing(self, where: int | str | None) -> Iterator[None]:
        self._where = where
        try:
            yield
        finally:
            self._where = None

    def _executing(self, *_: object) -> None:
        if not isinstance(self._where, int):
            return
        self._where = self._where - 1 if self._where else None
        if self._where is None:
            raise Refused("a statement")

    def _committing(self, connection: Any) -> None:
        how = self._where if isinstance(self._where, str) else None
        if how is not None:
            self._where = None
        if how != "before":
            self._do(connection)
        if how is not None:
            raise Refused(f"{how} the commit")


@dataclass
class Process:
    """A ledger's process: what it remembers. ``position`` is where it believes to be."""

    store: Store
    position: int


@dataclass(frozen=True)
class Message:
    """One of LEDGER."""

    seq: int
    at: float
    facts: tuple[AttemptFact, ...]


faults = st.sampled_from([*[None] * 30, *range(16), *["before", "after"] * 3])
pieces = st.builds(
    dict[str, Any],
    number=st.integers(1, 4),
    late=st.sampled_from([0.0, 0.0, HOUR, 5 * HOUR]),
    seconds=st.sampled_from([0.5, 90.0]),
    provider=st.sampled_from(["openai", "openai", "anthropic"]),
    key=st.sampled_from([None, None, "k-1"]),
    cost=st.none() | st.decimals(0, 3, places=12),
    reserved=st.none() | st.decimals(0, 5, places=12),
    usage=st.builds(
        Usage,
        input=st.integers(0, 900),
        cache_read=st.integers(0, 9),
        cache_write=st.integers(0, 9),
        output=st.integers(0, 900),
        reasoning=st.integers(0, 9),
        reported=st.booleans(),
    ),
    won=st.booleans(),
    told_by=st.sampled_from(["worker", "worker", "leader", "statement"]),
    reason=st.sampled_from(["user", "failed", "cancelled"]),
    failure=st.none() | st.just(FailureKind.CANCELLED),
    verdict=st.sampled_from([None, None, "accept", "replace"]),
    trial=st.sampled_from([None, *(Trial(experiment="exp", arm=name, bucket=1) for name in ("control", "b"))]),
    tags=st.dictionaries(st.sampled_from(["team", "app"]), st.sampled_from(["red", "blue"]), max_size=2),
)


def told(piece: dict[str, Any], now: float) -> AttemptFact:
    """A fact that is told now."""
    rest = dict(piece)
    number, late = rest.pop("number"), rest.pop("late")
    if rest["told_by"] == "statement":
        rest |= {"stated": True, "instead": Decimal("0.01"), "won": False, "verdict": None, "trial": None}
    project = ("red", "green")[number % 2]
    name = f"{project}.job-{number}.1"
    return fact(number, attempt=name, project=project, route=f"route-{number % 2}", charged=now - late, **rest)


class Machine(RuleBasedStateMachine):
    """LEDGER, two processes, one database and the book beside it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database = Database(url)
        self.unreliable = Unreliable(self.database)
        self.book = Book()
        self.stream: list[Message] = []
        self.last, self.now, self.position, self.furthest = 0, NOON, 0, 0
        self.forgetting = ""
        """The project that is half forgotten."""
        self.whole = True
        """Whether the stream still tells all that ever was."""
        self.run(self.emptied())
        self.processes = [Process(Store(self.database), 0) for _ in range(2)]

    def run(self, doing: Any) -> Any:
        return self.runner.run(doing)

    async def emptied(self) -> None:
        async with self.database.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(delete(table))

    def teardown(self) -> None:
        if self.whole:
            self.run(self.replayed())
        self.run(self.database.close())
        self.runner.close()

    async def replayed(self) -> None:
        """A database with nothing in it is told everything at once, and everything one by one."""
        read = [message for message in self.stream if message.seq <= self.furthest]
        for cuts in ([read], [[message] for message in read]):
            await self.emptied()
            store, position = Store(self.database), 0
            for messages in filter(None, cuts):
                await stored(store, messages, position, self.now)
                position = messages[-1].seq
            assert await tables(self.database) == self.book.expected()

    # -- what is told

    def append(self, facts: tuple[AttemptFact, ...]) -> None:
        self.last, self.now = self.last + 1, self.now + 1.0
        self.stream.append(Message(self.last, self.now, facts))

    @rule(some=st.lists(pieces, max_size=4))
    def tell(self, some: list[dict[str, Any]]) -> None:
        self.append(tuple(told(piece, self.now + 1.0) for piece in some))

    @rule(some=st.lists(pieces, min_size=2, max_size=6), who=st.integers(0, 1))
    def tell_who_reads(self, some: list[dict[str, Any]], who: int) -> None:
        self.tell(some)
        self.read(who, len(self.stream), None)

    @precondition(lambda self: self.stream)
    @rule(which=st.integers(0, 9))
    def tell_again(self, which: int) -> None:
        facts = self.stream[which % len(self.stream)].facts
        self.append(tuple(one for one in facts if one.at > self.now - 2 * KEPT))

    # -- what reads

    @rule(who=st.integers(0, 1), many=st.integers(1, 6), fault=faults)
    def read(self, who: int, many: int, fault: int | str | None) -> None:
        process = self.processes[who]
        messages = [message for message in self.stream if message.seq > process.position][:many]
        if not messages:
            return
        before = self.position
        try:
            with self.unreliable.refusing(fault):
                self.run(stored(process.store, messages, process.position, self.now))
        except Moved:
            assert process.position != self.position
            self.resume(process)
            assert process.position == before
            return
        except Refused:
            self.resume(process)
            assert process.position in {before, messages[-1].seq}
            if process.position == before:
                return
        else:
            process.position = messages[-1].seq
        assert messages[0].seq > before
        self.position = messages[-1].seq
        self.furthest = max(self.furthest, self.position)
        for message in messages:
            self.book.hear(message.facts)

    @rule(who=st.integers(0, 1))
    def die(self, who: int) -> None:
        self.resume(self.processes[who])

    def resume(self, process: Process) -> None:
        """As the ledger's duty does it: what was remembered is void."""
        process.store = Store(self.database)
        process.position = self.run(process.store.position())

    @rule(who=st.integers(0, 1))
    def begin_anew(self, who: int) -> None:
        process = self.processes[who]
        if process.position != self.position:
            return
        self.run(process.store.begin_anew(process.position))
        process.position = self.position = 0

    # -- what goes

    @rule(seconds=st.sampled_from([60.0, 2 * HOUR, 26 * HOUR, 35 * DAY, 410 * DAY]))
    def later(self, seconds: float) -> None:
        """LEDGER keeps what it was told for its time, and the ledger is not so far behind."""
        if seconds > DAY:
            self.read(0, len(self.stream) or 1, None)
            self.read(0, len(self.stream) or 1, None)
        self.now += seconds
        kept = [message for message in self.stream if message.at > self.now - KEPT]
        self.whole = self.whole and kept == self.stream
        self.stream = kept

    @rule(fault=faults)
    def retain(self, fault: int | str | None) -> None:
        duty = Retention(self.database, ManualClock(wall=self.now), Telemetry(), keep_days=KEEP_DAYS)

        async def all_steps() -> None:
            while (await duty.step()).attempts:
                pass

        self.until_done(all_steps, fault)
        self.book.remove(self.now - KEEP_DAYS * DAY)

    def until_done(self, do: Callable[[], Awaitable[object]], fault: int | str | None) -> None:
        try:
            with self.unreliable.refusing(fault):
                self.run(do())
        except Refused:
            self.run(do())

    @precondition(lambda self: not self.forgetting)
    @rule(project=st.sampled_from(["red", "green"]), fault=faults)
    def forget(self, project: str, fault: int | str | None) -> None:
        try:
            with self.unreliable.refusing(fault):
                self.run(forget(self.database, project, self.now))
        except Refused:
            if not self.run(self.asked(project)):
                return
            self.forgetting = project
        self.whole = False
        self.book.forget(project, self.now)

    async def asked(self, project: str) -> bool:
        """Whether the database knows that the project is to be forgotten until now."""
        query = select(forgotten.c.id).where(forgotten.c.project == project, forgotten.c.at == self.now)
        async with self.database.engine.connect() as connection:
            return (await connection.execute(query)).first() is not None

    @precondition(lambda self: self.forgetting)
    @rule()
    def forget_the_rest(self) -> None:
        project, self.forgetting = self.forgetting, ""
        self.run(forget(self.database, project, self.now))
        self.book.forget(project, self.now)

    # -- what holds

    @invariant()
    def the_tables_are_the_book(self) -> None:
        stored_now, expected = self.run(tables(self.database)), self.book.expected()
        assert total(stored_now.by_source) == total(expected.by_source)
        if not self.forgetting:
            assert stored_now == expected

    @invariant()
    def the_place_is_that_of_what_was_stored(self) -> None:
        assert self.run(Store(self.database).position()) == self.position


async def stored(store: Store, messages: list[Message], before: int, at: float) -> None:
    facts = [booking(one) for message in messages for one in message.facts]
    await store.store(facts, before=before, through=messages[-1].seq, at=at)


async def migrated(url: str) -> None:
    database = Database(url, pooled=False)
    await database.migrate()
    await database.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 40), ("postgresql", 6)])
def test_the_ledger_is_a_book_kept_by_hand_whatever_comes_and_whatever_breaks(
    kind: str, examples: int, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP", 2)
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/ledger.db"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = fresh(server)
    asyncio.run(migrated(url))
    bounded = settings(
        max_examples=examples,
        stateful_step_count=25,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    run_state_machine_as_test(partial(Machine, url), settings=bounded)  # type: ignore[arg-type]  # whatever makes one

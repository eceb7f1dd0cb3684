"""Experiments while this process leads: RES is folded into sums, what follows is stored, and only then takes effect.

Sums are a fold of RES, in which results lie and what was said of them, so whoever reads it from a checkpoint on comes
to the same. A checkpoint holds how far RES was read, the sums, how far each experiment is and what was written of it;
it is fenced by its own last sequence. Who finds another one there takes that over, whole.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from job_contracts import subjects
from job_contracts.codec import VERSION, ContractError, Version, Wire, decode, encode
from job_contracts.experiments import Experiment, Metric
from job_contracts.results import Settlement
from job_contracts.trials import GivenScore, Happened
from runtime.bus.port import BusError, NotFound, WrongSequence
from runtime.telemetry import ERROR, INFO, WARNING
from scheduler.policy.experiments.book import Account, Book
from scheduler.policy.experiments.moments import ArmSums, Kept, Moments
from scheduler.policy.experiments.ramp import Halt, Progress
from scheduler.policy.resolving import plain
from scheduler.policy.seats import Running
from scheduler.spending import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.bus.port import Message, Tail
    from scheduler.policy.experiments.ramp import Decision
    from scheduler.term import Term

LOOK = 2.0
"""Seconds between two looks."""
KEEP_EVERY = 10.0
"""Seconds between two checkpoints, if nothing is decided."""
LAST_WORDS = 2.0
"""Seconds for the checkpoint at the end of a term."""
BREATH = 500
"""Results taken in without letting anything else have its turn."""
TRIES = 3
"""Checkpoints that may turn out to be another's before the term is given up."""
BEHIND = 5.0
"""Seconds that the reading may need to catch up with what is stored."""


class KeptExperiment(Wire):
    """One experiment in a checkpoint."""

    settings: dict[str, Any]
    began: float
    since: float
    step: int = 0
    jobs: dict[str, int] = Field(default_factory=dict)
    halted: dict[str, str] = Field(default_factory=dict)
    sums: dict[str, dict[Metric, Kept]] = Field(default_factory=dict)
    """By arm and metric, as ``Moments.kept``."""
    audit: tuple[Happened, ...] = ()
    ended: float | None = None


class KeptTrials(Wire):
    """A checkpoint: all experiments, up to a place in RES."""

    version: Version = VERSION
    read: int = Field(default=0, ge=0)
    experiments: dict[str, KeptExperiment] = Field(default_factory=dict)


class NotKept(BusError):
    """How experiments stand could not be settled with whoever else writes there."""


class Trials:
    """The leader's: ``begin`` before it dispatches, ``run`` while it leads, ``close`` at the end."""

    def __init__(self, term: Term, wanted: Callable[[], Mapping[str, Experiment]]) -> None:
        """``wanted``: what the configuration says now."""
        self._term = term
        self._bus = term.bus
        self._clock = term.clock
        self._wanted = wanted
        self._subject = subjects.trials(term.shard)
        self.book = Book()
        self._turn = asyncio.Lock()
        self._tail: Tail | None = None
        self._waiting: deque[tuple[int, str | None, str | None]] = deque()
        """Sequence, settlement and score of what was read and is not taken in yet."""
        self._stored = 0
        """Sequence of the last checkpoint that is known of; 0 if there was none."""
        self._kept = 0.0
        self._kept_read = 0
        self._read = 0
        self._quiet = 0
        """Up to here another leader has told its own instruments of what ended."""
        self._due = False
        """Whether something was decided that is not known to be stored."""
        self._begun = False
        self._unknown: dict[str, tuple[str, ...]] = {}

    # ------------------------------------------------------------------------------------------------------- beginning

    async def begin(self) -> None:
        """Take over how experiments stand. Raises BusError: then nothing may be dispatched."""
        for _ in range(TRIES):
            found = await self._load()
            state = await self._bus.stream_state(subjects.RES)
            if not found:
                self._read = state.last_seq
            elif state.last_seq < self._read:
                self._term.telemetry.emit("trials.results_replaced", ERROR, read=self._read, seq=state.last_seq)
                self._read = 0
            self._quiet = state.last_seq
            self._configure()
            if not self.book.accounts and not found:
                break
            if await self._store():  # also to know that no stale node has shown us an older one
                break
        else:
            raise NotKept("another process keeps writing how experiments stand")
        self._begun = True
        self._place()

    async def close(self) -> None:
        """Read no more; what is known is kept for whoever comes next, as far as that is quick."""
        tail, self._tail = self._tail, None
        if tail is not None:
            await tail.close()
        if not self._begun or not self.book.accounts or self._kept_read >= self._read:
            return
        self._begun = False
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._store()
        except (BusError, TimeoutError) as error:
            self._term.telemetry.emit("trials.not_kept", INFO, error=type(error).__name__)

    # --------------------------------------------------------------------------------------------------------- leading

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except BusError as error:
                self._term.telemetry.emit("trials.interrupted", WARNING, error=type(error).__name__)
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take in what has ended, decide what is due, and let it take effect once it is stored."""
        async with self._turn:
            changed = self._configure()
            if not self.book.accounts:
                return
            await self._take_in()
            decisions = self.book.decide(self._clock.wall())
            self._due = self._due or bool(changed or decisions)
            old = self._clock.monotonic() - self._kept >= KEEP_EVERY and self._read > self._kept_read
            if (self._due or old) and self._term.lease.trusted:
                await self._settle(decisions)

    async def stop(self, name: str, arm: str, why: str) -> bool:
        """The operator stops an arm; False if it is stopped already. Raises BusError, KeyError if there is none."""
        async with self._turn:
            for _ in range(TRIES):
                if arm not in self.book.accounts[name].settings.challengers:
                    raise KeyError(arm)
                if not self.book.stop(name, arm, why, self._clock.wall()):
                    return False
                self._due = True
                if await self._settle([(name, Halt(arm, why))]):
                    return True
            raise NotKept("another process keeps writing how experiments stand")

    async def _settle(self, decisions: list[tuple[str, Decision]]) -> bool:
        """Store what was decided, then let it take effect; False if another's took its place."""
        if not await self._store():
            await self._load()
            await self._read_anew()
            self._place()
            return False
        if self._due:
            self._due = False
            self._place()
        for name, decision in decisions:
            arm = decision.arm if isinstance(decision, Halt) else ""
            kind = type(decision).__name__.lower()
            self._term.telemetry.emit("trial.decided", INFO, experiment=name, kind=kind, arm=arm, why=decision.why)
        return True

    def _configure(self) -> list[str]:
        wanted = plain(self._wanted())
        changed = self.book.configure(wanted, self._term.config.routes, self._clock.wall())
        if self.book.unknown != self._unknown:
            self._unknown = self.book.unknown
            for name, routes in self._unknown.items():
                self._term.telemetry.emit("trial.unknown_route", WARNING, experiment=name, routes=", ".join(routes))
        for name in changed:
            account = self.book.accounts.get(name)
            last = account.audit[-1] if account is not None and account.audit else None
            what, why = ("forgotten", "") if last is None else (last.what, last.why)
            self._term.telemetry.emit("trial.configured", INFO, experiment=name, what=what, why=why)
        return changed

    def _place(self) -> None:
        running = {
            name: Running(account.settings, account.progress)
            for name, account in self.book.accounts.items()
            if account.ended is None
        }
        self._term.board.place_trials(running, self._clock.monotonic())
        for name, each in running.items():
            share = each.progress.share(each.settings.ramp)
            self._term.telemetry.emit("trial.placed", experiment=name, value=share)
        self._term.wake.set()

    # --------------------------------------------------------------------------------------------------------- reading

    def _on_message(self, message: Message) -> None:
        headers = message.headers or {}
        settlement = headers.get(subjects.H_SETTLEMENT)
        if settlement is not None and '"trial"' not in settlement:
            settlement = None
        self._waiting.append((message.seq, settlement, headers.get(subjects.H_SCORE)))

    async def _read_anew(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            await tail.close()
        self._waiting.clear()

    async def _take_in(self) -> None:
        """What RES holds by now. Raises BusError when that cannot be read."""
        if self._tail is None:
            start = self._read + 1
            self._tail = await self._bus.tail(subjects.RES, self._on_message, start=start, headers_only=True)
        last = (await self._bus.stream_state(subjects.RES)).last_seq
        await self._tail.caught_up(last, timeout=BEHIND)
        number = 0
        while self._waiting:
            seq, settlement, score = self._waiting.popleft()
            if seq <= self._read:
                continue
            if seq > self._read + 1:
                await self._passed_over(self._read + 1, seq - 1)
            self._fold(seq, settlement, score)
            number += 1
            if number % BREATH == 0:
                await asyncio.sleep(0)
        if number:
            self._term.telemetry.emit("trials.read", results=number)

    async def _passed_over(self, first: int, end: int) -> None:
        """What a tail has not handed over: mostly nothing, because something was removed there."""
        if (await self._bus.stream_state(subjects.RES)).last_seq < end:
            raise NotKept("the answering node is older than what was read")
        while first <= end:
            try:
                found = await self._bus.next(subjects.RES, first, f"{subjects.PREFIX}.>")
            except NotFound:
                return
            if found.seq > end:
                return
            headers = found.headers or {}
            self._fold(found.seq, headers.get(subjects.H_SETTLEMENT), headers.get(subjects.H_SCORE))
            first = found.seq + 1

    def _fold(self, seq: int, settlement: str | None, score: str | None) -> None:
        self._read = seq
        try:
            if settlement is not None:
                told = decode(Settlement, settlement)
                arm = self.book.told(told)
                if arm is not None and told.trial is not None and seq > self._quiet:
                    self._term.telemetry.emit("trial.ended", experiment=told.trial.experiment, arm=arm)
            if score is not None:
                self.book.scored(decode(GivenScore, score))
        except ContractError as error:
            self._term.telemetry.emit("trials.unreadable", ERROR, seq=seq, error=str(error))

    # ----------------------------------------------------------------------------------------------------- checkpoints

    async def _load(self) -> bool:
        """Take over the last checkpoint; False if there is none. Raises BusError."""
        try:
            found = await self._bus.last(subjects.SPENT, self._subject)
        except NotFound:
            self._stored, self.book, self._read = 0, Book(), 0
            return False
        self._stored = found.seq
        try:
            kept = decode(KeptTrials, unpacked(found.data))
            self.book = book_of(kept)
        except (ContractError, ValidationError, zlib.error) as error:
            # Nobody but us writes there, so it is a newer version's. Nothing is guessed: experiments begin anew.
            self._term.telemetry.emit("trials.checkpoint_unreadable", ERROR, seq=found.seq, error=str(error))
            self.book = Book()
            return False
        self._read = self._kept_read = kept.read
        return True

    async def _store(self) -> bool:
        """Store a checkpoint; False if there is one that we did not know of. Raises BusError."""
        data = packed(encode(kept_of(self.book, self._read)))
        try:
            self._stored = (await self._bus.append(self._subject, data, expect_last=self._stored)).seq
        except WrongSequence:
            return False
        self._kept, self._kept_read = self._clock.monotonic(), self._read
        self._term.telemetry.emit("trials.stored", read=self._read, bytes=len(data))
        return True


def kept_of(book: Book, read: int) -> KeptTrials:
    """A book as it is written down."""
    return KeptTrials(read=read, experiments={name: _kept(account) for name, account in book.accounts.items()})


def _kept(account: Account) -> KeptExperiment:
    progress = account.progress
    return KeptExperiment(
        settings=account.settings.model_dump(mode="json"),
        began=progress.began,
        since=progress.since,
        step=progress.step,
        jobs=dict(progress.jobs),
        halted=dict(progress.halted),
        sums={
            arm: {metric: moments.kept() for metric, moments in sums.by.items() if moments.count}
            for arm, sums in account.sums.items()
        },
        audit=tuple(account.audit),
        ended=account.ended,
    )


def book_of(kept: KeptTrials) -> Book:
    """What was written down. Raises ValidationError for settings that cannot be read here."""
    book = Book()
    for name, told in kept.experiments.items():
        account = book.accounts[name] = Account(
            Experiment.model_validate(
                {key: told.settings[key] for key in Experiment.model_fields if key in told.settings}
            ),
            Progress(told.began, told.since, told.step, dict(told.jobs), dict(told.halted)),
            audit=list(told.audit),
            ended=told.ended,
        )
        for arm, by in told.sums.items():
            sums = account.sums[arm] = ArmSums()
            sums.by.update({metric: Moments.of(moments) for metric, moments in by.items()})
    return book

"""What has been spent, as LEDGER tells it: facts become charges on the board, and their sums are kept in SPENT.

Sums are a fold of LEDGER, so whoever has read further is right. A checkpoint of them says up to which message they
count; whoever starts from it also reads about an hour before that place, without counting, because a fact may be told
again, or be outweighed by another one of its attempt. What is reserved lies in WORK: an assignment leaves it only after
its fact is in LEDGER, so WORK read first and LEDGER afterwards, up to a mark of our own, leave nothing out.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import Field

from job_contracts import money, subjects
from job_contracts.codec import VERSION, ContractError, Version, Wire, decode, encode
from job_contracts.money import Amount, picodollars
from runtime.bus.port import BusError, NotFound, TooLarge, WrongSequence
from runtime.telemetry import ERROR, INFO, WARNING
from scheduler.policy import purses
from scheduler.policy.facts import Charged
from scheduler.recovery import mark

if TYPE_CHECKING:
    from runtime.bus.port import Message, Tail
    from scheduler.policy.board import Board
    from scheduler.term import Term

LOOK = 1.0
"""Seconds between two looks whether LEDGER is still read."""
BEHIND = 5.0
"""Seconds that the reading may be behind what is stored until the sums are not trusted."""
CATCH_UP = 30.0
"""Seconds in which the mark must be reached, before another one is tried."""
KEEP_EVERY = 10.0
"""Seconds between two checkpoints."""
LAST_WORDS = 2.0
"""Seconds for the checkpoint at the end of a term."""
REMEMBERED = 3600.0
"""Seconds for which attempts are remembered, so that a fact told again counts once."""
MARK_EVERY = 300.0
"""Seconds between two places noted, from one of which a successor reads."""
PLAIN = 64 * 1024
"""Bytes from which on a checkpoint is packed; a project's keys may be many."""
UNPACKED = 64 * 1024 * 1024
"""Bytes that a packed one may have."""


class Spent(Wire):
    """A checkpoint: what every payer had spent in its windows, up to a place in LEDGER."""

    version: Version = VERSION
    read: int = Field(default=0, ge=0)
    """LEDGER sequence up to which facts are in the sums."""
    marks: tuple[tuple[float, int], ...] = ()
    """Ascending: at that time (UTC seconds) LEDGER had been read up to that sequence."""
    payers: dict[str, dict[str, tuple[tuple[float, int], ...]]] = Field(default_factory=dict)
    """By payer and window: when a window began, and the picodollars spent in it (``policy.purses``)."""

    def reread_from(self, wall: float) -> int:
        """The sequence from which on attempts may be told of again."""
        old = [seq for at, seq in self.marks if at <= wall - REMEMBERED]
        return 1 + min(old[-1] if old else 0, self.read)


class _Reported(Wire):
    """Of a usage: whether the provider said it."""

    reported: bool = True


class _Told(Wire):
    """Of a fact (``facts.AttemptFact``) only what counts here: the leader reads one for every attempt there is."""

    attempt: str
    project: str
    route: str
    started: float
    usage: _Reported
    won: bool
    cost: Amount | None = None
    reserved: Amount | None = None
    charged: float = 0.0
    key: str | None = None
    told_by: str = "worker"
    instead: Amount | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class _Facts(Wire):
    version: Version = VERSION
    facts: tuple[_Told, ...]


class WrongStart(BusError):
    """The sums were begun from another place than the streams now show: the term begins anew, with empty hands."""


class Spending:
    """One candidate's reading of LEDGER: ``open`` begins it, standing by; ``run`` is the leader's duty, ``close`` ends.

    A message that cannot be read, or a fact that cannot, counts nothing and is told as an error. The sums are trusted
    all the same: what was reserved for the attempt stays reserved, so nothing is overspent, and whoever can write one
    bad message cannot stop all jobs that have a budget.
    """

    def __init__(self, term: Term) -> None:
        self._term = term
        self._bus = term.bus
        self._board = term.board
        self._clock = term.clock
        self._subject = subjects.spent(term.shard)
        self._tail: Tail | None = None
        self._stored = 0
        """Sequence of the last checkpoint that is known of; 0 if there was none."""
        self._kept = 0.0
        """Monotonic time of our own last one; 0 before the first."""
        self._until = 0
        """LEDGER sequence up to which the sums that we began with count."""
        self._read = 0
        self._whole = True
        """Whether nothing is missing before the place we began at, also if there is a checkpoint we were not shown."""
        self._marks: deque[tuple[float, int]] = deque()
        self.trusted = False
        """Whether all of LEDGER that there was has been read."""
        self.unread = 0
        """Messages that LEDGER had at the last look beyond those that were read."""

    # ------------------------------------------------------------------------------------------------------- reading

    async def open(self) -> None:
        """Begin to read, if that is not begun. Raises BusError; then it may be tried again."""
        if self._tail is not None:
            return
        self._stored, spent = await self._last()
        self._until = self._read = spent.read
        self._marks = deque(spent.marks)
        self._board.restore_spending(_sums(spent))
        again = spent.reread_from(self._clock.wall())
        state = await self._bus.stream_state(subjects.LEDGER)
        self._whole = bool(self._stored) or state.first_seq <= 1
        if spent.read + 1 < state.first_seq and state.messages:
            # What was told meanwhile fell out of LEDGER before anybody who keeps sums had read it.
            self._term.telemetry.emit("spending.facts_missed", ERROR, read=spent.read, first=state.first_seq)
        self._read = again - 1
        self._tail = await self._bus.tail(subjects.LEDGER, self.on_message, start=again)

    async def close(self) -> None:
        """Read no more; a leader keeps what it knows, for whoever comes next."""
        tail, self._tail = self._tail, None
        if tail is None:
            return
        await tail.close()
        if self.trusted:
            self.trusted = False
            try:
                async with asyncio.timeout(LAST_WORDS):
                    await self._keep()
            except (BusError, TimeoutError) as error:
                self._term.telemetry.emit("spending.not_kept", INFO, error=type(error).__name__)

    def on_message(self, message: Message) -> None:
        """One message of LEDGER, in order."""
        seq = message.seq
        if seq <= self._read:  # the stream was made anew: nothing of what it holds was ever counted
            self._term.telemetry.emit("spending.ledger_replaced", ERROR, read=self._read, seq=seq)
            self._until = 0
            self._marks.clear()
        self._read = seq
        if message.subject.startswith(f"{subjects.PREFIX}.ledger_barrier."):
            return
        try:
            facts = decode(_Facts, message.data).facts
        except ContractError as error:
            self._unreadable(seq, str(error))
            return
        now, counted = self._clock.monotonic(), seq > self._until
        for fact in facts:
            try:
                self._board.apply(_charge(fact, counted=counted), now)
            except Exception as error:  # noqa: BLE001 - one fact that we stumble over must not hide the others
                self._unreadable(seq, type(error).__name__)
        if self._term.leads:
            self._term.wake.set()

    def _unreadable(self, seq: int, error: str) -> None:
        self._term.telemetry.emit("spending.unreadable", ERROR, seq=seq, error=error)

    # ------------------------------------------------------------------------------------------------------- leading

    async def run(self) -> None:
        """For ever: see that LEDGER is read, and keep the sums. To be begun when WORK has been read.

        Raises WrongStart when the sums are not to be saved: the term is over then.
        """
        while True:
            try:
                await self.look()
            except WrongStart:
                raise
            except BusError as error:
                self._trust(trusted=False, why=type(error).__name__)
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """One look. Raises BusError when LEDGER cannot be read."""
        await self.open()
        assert self._tail is not None  # noqa: S101 - open
        if self.trusted:
            last = (await self._bus.stream_state(subjects.LEDGER)).last_seq
            self.unread = max(0, last - self._tail.position)
            read = await self._tail.caught_up(last, timeout=BEHIND)
        else:
            # The mark stays where it is: that LEDGER begins with its first message says that none fell out of it.
            last = await mark(self._term, subjects.barrier(subjects.LEDGER, self._term.shard))
            if last <= self._until:
                await self._replaced(last)
            read = await self._tail.caught_up(last, timeout=CATCH_UP)
        if not read:
            message = f"{subjects.LEDGER} could not be read up to sequence {last}"
            raise BusError(message)
        if not self._kept:
            await self._confirm()
        self._trust(trusted=True)
        self._note()
        if self._clock.monotonic() - self._kept >= KEEP_EVERY and self._term.lease.trusted:
            await self._keep()

    def _trust(self, *, trusted: bool, why: str = "") -> None:
        if trusted == self.trusted:
            return
        self.trusted = trusted
        self._board.trust_spending(trusted)
        if trusted:
            self._term.telemetry.emit("spending.read", INFO, read=self._read)
        else:
            self._term.telemetry.emit("spending.distrusted", WARNING, error=why)
        self._term.wake.set()

    def _note(self) -> None:
        """Where the reading is now; what is told of attempts of more than an hour ago is not looked for."""
        wall = self._clock.wall()
        marks = self._marks
        if not marks or wall - marks[-1][0] >= MARK_EVERY:
            marks.append((wall, self._read))
        while len(marks) > 1 and marks[1][0] <= wall - REMEMBERED:
            marks.popleft()

    # ---------------------------------------------------------------------------------------------------- checkpoints

    async def _last(self) -> tuple[int, Spent]:
        """The last checkpoint and where it lies; an empty one where there is none. Raises BusError.

        An older one than there is does no harm: more of LEDGER is counted by ourselves.
        """
        try:
            found = await self._bus.last(subjects.SPENT, self._subject)
        except NotFound:
            return 0, Spent()
        try:
            return found.seq, decode(Spent, unpacked(found.data))
        except (ContractError, zlib.error) as error:
            # Nobody but us writes there. All that LEDGER still holds is counted instead, that is the last 30 days.
            self._term.telemetry.emit("spending.checkpoint_unreadable", ERROR, seq=found.seq, error=str(error))
            return found.seq, Spent()

    async def _confirm(self) -> None:
        """Our first checkpoint. Where LEDGER does not go back to its first message, it also shows that there was none
        when we began: the broker knows of no other.
        """
        if not await self._keep() and not self._whole:
            raise WrongStart("there is a checkpoint of what was spent that a stale node did not show")

    async def _replaced(self, last: int) -> None:
        """LEDGER is another stream than the one that was counted: the sums stay, it is counted from its beginning."""
        self._term.telemetry.emit("spending.ledger_replaced", ERROR, read=self._until, seq=last)
        self._read, self._until = 0, 0
        self._marks.clear()
        await self._keep()
        raise WrongStart(f"{subjects.LEDGER} ends at {last}, before the place that the sums were kept at")

    async def _keep(self) -> bool:
        """Store a checkpoint; False if another one, that counts further, stands there. Raises BusError."""
        spent = Spent(read=max(self._read, self._until), marks=tuple(self._marks), payers=_payers(self._board))
        data = packed(encode(spent))
        while True:
            try:
                self._stored = (await self._bus.append(self._subject, data, expect_last=self._stored)).seq
            except WrongSequence:
                before = self._stored
                self._stored, other = await self._last()
                if other.read > spent.read or not self._whole:
                    return False
                if self._stored <= before:
                    raise  # a stale answer: the next look tries again
            except TooLarge:
                self._term.telemetry.emit("spending.too_large", ERROR, bytes=len(data))
                break
            else:
                break
        self._kept, self._whole = self._clock.monotonic(), True
        self._term.telemetry.emit("spending.stored", read=spent.read, bytes=len(data))
        return True


def _charge(fact: _Told, *, counted: bool) -> Charged:
    project, job, number = fact.attempt.rsplit(".", 2)
    return Charged(
        attempt=(project, job, int(number)),
        project=fact.project,
        route=fact.route,
        key=fact.key,
        tags=fact.tags,
        at=fact.charged or fact.started,
        cost=_pico(fact.cost),
        reserved=_pico(fact.reserved),
        weight=(fact.told_by == "statement", fact.won, fact.usage.reported, fact.told_by == "worker"),
        instead=_pico(fact.instead) or 0,
        counted=counted,
    )


def _pico(amount: Decimal | None) -> int | None:
    return None if amount is None else picodollars(amount)


def _sums(spent: Spent) -> purses.Spending:
    windows: frozenset[str] = frozenset(money.WINDOWS)
    return purses.Spending(
        {payer: {name: kept for name, kept in sums.items() if name in windows} for payer, sums in spent.payers.items()}
    )


def _payers(board: Board) -> dict[str, dict[str, tuple[tuple[float, int], ...]]]:
    return {payer: dict(sums) for payer, sums in board.spending().payers.items()}


def packed(data: bytes) -> bytes:
    """A checkpoint as it is stored."""
    return data if len(data) < PLAIN else zlib.compress(data, 1)


def unpacked(data: bytes) -> bytes:
    """As it was. Raises zlib.error."""
    return data if data[:1] == b"{" else zlib.decompressobj().decompress(data, UNPACKED)

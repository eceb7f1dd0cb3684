"""Collects attempts into batches of the provider's batch API, and waits for them; takes over what others left behind.

A batch is noted before it is made and when it is known by name; the note goes when each of its attempts has been
answered for. Its worker is known to live by its heartbeats. When it falls silent, another worker of the pool takes the
note (only one can), claims the attempts, finds the batch by the note's key, and makes it only if there is none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import ContractError, decode
from job_contracts.failures import Failure, FailureKind
from runtime.bus.port import BusError, NotFound, WrongSequence
from runtime.service import Duty, place_of
from runtime.telemetry import ERROR, INFO, WARNING
from workers.batching.carried import Came, Carried, Member, left_over
from workers.batching.notes import Kept, Note, Notes
from workers.batching.way import TRIES
from workers.dialects.batches.port import Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from runtime.bus.port import Bus, Delivery, Message, Subscription
    from runtime.clock import Clock
    from runtime.settings.routing import BatchApi as Settings
    from runtime.telemetry import Telemetry
    from workers.batching.way import Way
    from workers.dialects.port import Encoded

__all__ = ["Desk"]

READY_WITHIN = 60.0
"""Seconds in which attempts that were taken over must be ready again to be sent anew."""
LOOK = 1.0
"""Seconds between two looks for what was left behind, at most."""


@dataclass(slots=True)
class _Group:
    """Requests that wait for company."""

    members: list[Member] = field(default_factory=list)
    bytes: int = 0
    timer: asyncio.TimerHandle | None = None


class Desk(Duty):
    """One worker's. ``most``: bytes an answer may have."""

    def __init__(
        self,
        bus: Bus,
        way: Way,
        clock: Clock,
        telemetry: Telemetry,
        *,
        pool: str,
        worker: str,
        work: str,
        settings: Settings,
        most: int,
    ) -> None:
        super().__init__("batches", telemetry)
        self.take: Callable[[Delivery], None] | None = None
        """Makes the attempt of an assignment that was taken over."""
        self._bus, self._way, self._clock = bus, way, clock
        self._pool, self._worker, self._work = pool, worker, work
        self._settings, self._most = settings, most
        self._notes = Notes(bus, pool)
        self._groups: dict[tuple[str, str], _Group] = {}
        self._seqs: dict[str, int] = {}
        self._members: dict[str, tuple[Member, Carried | None]] = {}
        self._carried: dict[str, Carried] = {}
        self._tasks: dict[asyncio.Task[None], Carried | None] = {}
        self._heard: dict[str, float] = {}
        self._listening: Subscription | None = None
        self._since = 0.0

    # -- what attempts ask

    def fetched(self, attempt: str, seq: int) -> None:
        """An attempt is here; its assignment lies at ``seq`` in WORK."""
        self._seqs[attempt] = seq

    def adopts(self, attempt: str) -> bool:
        """Whether its request may lie at the provider already."""
        return attempt in self._members

    async def ask(self, encoded: Encoded, attempt: str, model: str) -> Came:
        """Send the request with others; returns its answer, hours later. Raises CallFailed."""
        known = self._members.get(attempt)
        if known is None:
            member = Member(attempt, self._seqs.get(attempt, 0), asyncio.get_running_loop().create_future(), encoded)
            self._members[attempt] = member, None
            self._join(member, (encoded.path, model))
        else:
            member = known[0]
            member.encoded = encoded
        return await member.coming

    def withdraw(self, attempt: str) -> bool:
        """The attempt is stopped; whether its request had not left."""
        member, carried = self._members.get(attempt, (None, None))
        if member is None:
            return False
        if carried is not None:
            carried.leave(member)
            return False
        self._part(member)
        return True

    def waits(self, attempt: str) -> bool:
        """Whether its request has not left yet."""
        member, carried = self._members.get(attempt, (None, None))
        return member is not None and carried is None

    def lies_there(self, attempt: str) -> bool:
        """Whether it goes on at the provider without us."""
        member, carried = self._members.get(attempt, (None, None))
        return member is not None and carried is not None and not member.gone and not member.coming.done()

    def answered(self, attempt: str) -> None:
        """It has been answered for: reported, and handed to the books."""
        self._seqs.pop(attempt, None)
        _, carried = self._members.pop(attempt, (None, None))
        if carried is not None:
            carried.unanswered.discard(attempt)
            self._forget(carried)

    # -- the duty: what others left behind

    async def opened(self) -> None:
        self._since = self._clock.monotonic()
        self._listening = await self._bus.subscribe(subjects.heartbeat(self._pool, "*"), self._hear)

    async def closed(self) -> None:
        if self._listening is not None:
            await self._listening.close()
            self._listening = None

    async def run(self) -> None:
        """Look for it until told to stop."""
        while await self.pause(min(LOOK, self._settings.silence / 3)):
            try:
                for seq, note in await self._notes.all():
                    if self._left_behind(note):
                        await self._adopt(note, seq)
            except BusError as error:
                self.telemetry.emit("batch.look_failed", INFO, error=type(error).__name__)

    async def release(self, *, within: float) -> None:
        """Let go of all batches, so that another worker takes them over at once; first know what became of each."""
        for group in self._groups.values():
            if group.timer is not None:
                group.timer.cancel()
        unknown = [asyncio.ensure_future(each.known.wait()) for each in self._carried.values()]
        if unknown:
            _, late = await asyncio.wait(unknown, timeout=within)
            for waiting in late:
                waiting.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for carried in self._carried.values():
            if carried.over:
                continue  # its answers are being reported
            try:
                await self._keep(carried, worker="")
            except BusError as error:
                self.telemetry.emit("batch.release_failed", WARNING, error=type(error).__name__)
        self.telemetry.emit("batch.released", INFO, batches=len(self._carried))

    def _hear(self, message: Message) -> None:
        self._heard[message.subject.rpartition(".")[2]] = self._clock.monotonic()

    def _left_behind(self, note: Note) -> bool:
        if note.key in self._carried or note.worker == self._worker:
            return False
        last = max(self._heard.get(note.worker, 0.0), self._since)
        return not note.worker or self._clock.monotonic() - last >= self._settings.silence

    async def _adopt(self, note: Note, seq: int) -> None:
        members: dict[int, Member] = {}
        messages: list[Message] = []
        for place, at in enumerate(note.seqs):
            try:
                message = await self._bus.get(self._work, at)
                order = decode(Assignment, message.data)
            except (NotFound, ContractError):
                continue  # answered for, or taken back
            messages.append(message)
            members[place] = Member(order.attempt_id, at, asyncio.get_running_loop().create_future())
        carried = Carried(note, members, note_seq=seq, unanswered={each.attempt for each in members.values()})
        try:
            await self._keep(carried, worker=self._worker)
        except WrongSequence:
            return  # another worker was faster
        self._carried[note.key] = carried
        self.telemetry.emit("batch.adopted", WARNING, key=note.key, batch=note.batch, attempts=len(members))
        for member in members.values():
            self._members[member.attempt] = member, carried
        if not members:
            carried.abandoned.set()
        for message in messages if self.take is not None else ():
            assert self.take is not None  # noqa: S101 - just asked
            self.take(Kept(self._bus, self._work, message))
        self._start(self._carry(carried, adopted=True), carried)

    # -- collecting

    def _join(self, member: Member, key: tuple[str, str]) -> None:
        group, settings = self._groups.setdefault(key, _Group()), self._settings
        if group.members and group.bytes + _size(member) > settings.bytes:
            self._close(key)
            group = self._groups.setdefault(key, _Group())
        group.members.append(member)
        group.bytes += _size(member)
        if group.timer is None:
            group.timer = asyncio.get_running_loop().call_later(settings.linger, self._close, key)
        if len(group.members) >= settings.requests:
            self._close(key)

    def _part(self, member: Member) -> None:
        """It waits no more. A group without members goes, or it would be there with a timer that has rung."""
        for key, group in self._groups.items():
            if member in group.members:
                group.members.remove(member)
                group.bytes -= _size(member)
                if not group.members:
                    del self._groups[key]
                    if group.timer is not None:
                        group.timer.cancel()
                return

    def _close(self, key: tuple[str, str]) -> None:
        group = self._groups.pop(key, None)
        if group is None:
            return
        if group.timer is not None:
            group.timer.cancel()
        if self.stopping.is_set():
            self._groups[key] = group  # they are handed back
            return
        note = Note(
            key=token_hex(8),
            pool=self._pool,
            worker=self._worker,
            path=key[0],
            at=self._clock.wall(),
            seqs=tuple(member.seq for member in group.members),
        )
        carried = Carried(note, dict(enumerate(group.members)), unanswered={each.attempt for each in group.members})
        for member in group.members:
            self._members[member.attempt] = member, carried
        self._carried[note.key] = carried
        self._start(self._carry(carried, adopted=False), carried)

    def _start(self, work: Coroutine[Any, Any, None], carried: Carried | None) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = carried
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    # -- one batch

    async def _carry(self, carried: Carried, *, adopted: bool) -> None:
        try:
            if not adopted:
                await self._keep(carried)
                self.telemetry.emit("batch.noted", key=carried.note.key, attempts=len(carried.members))
            sheet = await self._known(carried, adopted=adopted)
            carried.known.set()
            if sheet is not None:
                await self._follow(carried, sheet)
        except BusError as error:
            self.telemetry.emit("batch.not_noted", ERROR, error=type(error).__name__)
            words = "the batch could not be noted, so it was not made"
            carried.all_failed(Failure(kind=FailureKind.CONNECT, message=words))
        except Exception as error:  # noqa: BLE001 - the top of the task: its attempts must not wait for ever
            self.telemetry.emit("batch.broken", ERROR, error=type(error).__name__, place=place_of(error))
            left_over(carried, Sheet("", end="failed", words=f"the worker failed ({type(error).__name__})"))
        carried.known.set()
        carried.over = True
        self._forget(carried)

    async def _known(self, carried: Carried, *, adopted: bool) -> Sheet | None:
        """The batch at the provider, made if there is none; ``None`` if it cannot be, and all have been told so."""
        if carried.note.batch:
            return Sheet(carried.note.batch)
        sheet = await self._way.find(carried, await self._known_batches()) if adopted else None
        if sheet is None and not carried.abandoned.is_set():
            if adopted:
                await self._ready(carried)
            sheet = await self._make(carried)
        if sheet is None:
            return None
        try:
            await self._keep(carried, batch=sheet.id)
        except BusError as error:  # it goes on all the same; a successor would find it by its key
            self.telemetry.emit("batch.note_late", WARNING, key=carried.note.key, error=type(error).__name__)
        self.telemetry.emit("batch.sent", INFO, key=carried.note.key, batch=sheet.id, attempts=len(carried.members))
        return sheet

    async def _make(self, carried: Carried) -> Sheet | None:
        for _ in range(TRIES):
            file = await self._way.file(carried)
            if not isinstance(file, str):
                carried.all_came(file or Came(503, b""))
                return None
            if self._clock.monotonic() - carried.noted > self._settings.silence / 2:
                await self._keep(carried)  # is it still ours to make?
            made = await self._way.make(carried, file)
            self.telemetry.emit("batch.made", key=carried.note.key)
            if isinstance(made, Came):
                carried.all_came(made)
                return None
            if made is None:  # nobody knows whether it was made
                made = await self._way.find(carried, await self._known_batches())
            if made is not None:
                return made
        carried.all_came(Came(503, b""))
        return None

    async def _follow(self, carried: Carried, sheet: Sheet) -> None:
        """Look until it has ended, then read the answers."""
        pause, cancelled = 0.0, False
        while not sheet.end:
            cancelled = await self._rest(carried, sheet.id, pause, cancelled=cancelled)
            pause = min(max(pause * 1.5, self._settings.poll), self._settings.poll_most)
            sheet = await self._way.look(sheet.id) or sheet
        while not await self._way.answers(carried, sheet, self._most):
            await self._rest(carried, sheet.id, pause, cancelled=True)
            pause = min(max(pause * 1.5, self._settings.poll), self._settings.poll_most)
        left_over(carried, sheet)
        self.telemetry.emit("batch.ended", INFO, key=carried.note.key, batch=sheet.id, end=sheet.end)

    async def _rest(self, carried: Carried, batch: str, pause: float, *, cancelled: bool) -> bool:
        """Wait for the next look; stop the batch as soon as nobody waits for it. Whether it was stopped."""
        if cancelled:
            await asyncio.sleep(pause)
            return True
        try:
            async with asyncio.timeout(pause):
                await carried.abandoned.wait()
        except TimeoutError:
            return False
        await self._way.cancel(batch)
        self.telemetry.emit("batch.cancelled", INFO, key=carried.note.key, batch=batch)
        return True

    async def _ready(self, carried: Carried) -> None:
        """Wait until the requests of attempts that were taken over are there again."""
        until = self._clock.monotonic() + READY_WITHIN
        while self._clock.monotonic() < until:
            if all(
                each.gone or each.encoded is not None or each.attempt not in carried.unanswered
                for each in carried.members.values()
            ):
                return
            await asyncio.sleep(0.02)

    async def _keep(self, carried: Carried, **changed: str) -> None:
        """Write the note anew. Raises BusError; WrongSequence if somebody else has taken it."""
        note = carried.note.model_copy(update=changed)
        carried.note_seq = await self._notes.write(note, seen=carried.note_seq)
        carried.note, carried.noted = note, self._clock.monotonic()

    async def _known_batches(self) -> set[str]:
        return {note.batch for _, note in await self._notes.all() if note.batch}

    def _forget(self, carried: Carried) -> None:
        if carried.over and not carried.unanswered and self._carried.pop(carried.note.key, None) is not None:
            self._start(self._remove(carried), None)

    async def _remove(self, carried: Carried) -> None:
        try:
            if carried.note_seq:
                await self._notes.remove(carried.note_seq)
        except BusError as error:  # another look finds that nobody waits for it
            self.telemetry.emit("batch.remove_failed", INFO, error=type(error).__name__)


def _size(member: Member) -> int:
    return 0 if member.encoded is None else len(member.encoded.body)

"""Dead letters as they are stored: each job has one at most, replaced whole, its body beside it until it is closed."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.fingerprints import fingerprint, of_failure, plain
from job_contracts.jobs import BlobRef, JobState, Ticket
from job_contracts.letters import DeadLetter, shortened, told
from runtime.bus.manifest import DEAD_DAYS
from runtime.bus.port import BusError, NotFound, TooLarge
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Literal

    from runtime.bus.port import Message
    from scheduler.policy.decisions import Finish
    from scheduler.term import Term

PIECE = 256 * 1024
"""Bytes of one piece of a body."""
MAX_MESSAGE = 256 * 1024
"""Bytes that are kept of a message that is no job."""
AT_ONCE = 16
"""Letters written at the same time: a body may be large."""
KEPT = DEAD_DAYS * 86_400.0
"""Seconds a letter and its body are kept."""
REPLACE = {"Nats-Rollup": "sub"}
"""A letter takes the place of the one before it in one step."""


class Letters:
    """Keeps, finds, replaces and removes them. Everything raises BusError; nothing here tries twice."""

    def __init__(self, term: Term) -> None:
        self._bus = term.bus
        self._clock = term.clock
        self._telemetry = term.telemetry
        self._submit = term.stream(subjects.SUBMIT)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tracing, self._entries = term.tracing, term.submissions.entries

    # -- keeping

    async def keep(self, finish: Finish) -> None:
        """Set a job aside, before its result is written; doing so again changes nothing."""
        async with self._places:
            there = await self.find(finish.project, finish.job)
            if there is not None and there[0].token == finish.token:
                return
            ticket, body = await self._submission(finish)
            blob, first = (None, 0) if body is None else await self._store(finish.project, finish.job, body)
            letter = self._letter(finish, ticket, blob)
            seq = await self.replace(letter, finish.job, there[1] if there is not None else 0)
            if there is not None:
                await self._drop_body(finish.project, finish.job, below=first or seq)
        self._telemetry.emit("letter.kept", INFO, reason=letter.reason, kind=finish.failure.kind.value)

    async def set_aside(
        self, message: Message, stream: str, reason: Literal["unreadable", "invalid"], detail: str
    ) -> None:
        """Keep a message that is no job; it belongs to the operator."""
        try:
            project, job = subjects.project_and_job(message.subject)
        except ValueError:
            project, job = "", ""
        letter = DeadLetter(
            project=project,
            job=job,
            reason=reason,
            detail=detail[:2000],
            fingerprint=fingerprint(reason, stream, plain(detail)),
            at=self._clock.wall(),
            stream=stream,
            seq=message.seq,
            headers=dict(message.headers or {}),
            body=b64encode(message.data[: min(MAX_MESSAGE, self._bus.max_payload // 4)]).decode(),
            kept_until=self._clock.wall() + KEPT,
        )
        await self._bus.append(subjects.unreadable(stream, message.seq), encode(letter), headers=REPLACE)
        self._telemetry.emit("letter.kept", INFO, reason=reason, kind="")

    async def replay_of(self, finish: Finish) -> str | None:
        """The job that an ending one is a replay of."""
        if not finish.job.startswith(f"{subjects.REPLAY_STEM}-"):
            return None
        submission = await self._at(finish.seq)
        ticket = None if submission is None else _ticket(submission)
        return None if ticket is None else ticket.replay_of

    def _letter(self, finish: Finish, ticket: Ticket | None, blob: BlobRef | None) -> DeadLetter:
        failure, key = shortened(finish.failure), (finish.project, finish.job)
        return DeadLetter(
            project=finish.project,
            job=finish.job,
            reason="poison" if finish.state is JobState.DEAD else "exhausted",
            detail=failure.message if failure is not None else "",
            fingerprint=of_failure(finish.failure, finish.history, finish.route),
            at=self._clock.wall(),
            stream=self._submit,
            seq=finish.seq,
            attempts=len(finish.history),
            failure=failure,
            ticket=ticket,
            history=told(finish.history),
            blob=blob,
            headers=dict(self._tracing.header(key, self._entries.get(key))),
            kept_until=self._clock.wall() + KEPT,
        )

    async def _submission(self, finish: Finish) -> tuple[Ticket | None, bytes | None]:
        """Ticket and body as they were submitted; ``None`` for what is no longer there, or is not what it says."""
        message = await self._at(finish.seq)
        ticket = None if message is None else _ticket(message)
        if message is None or ticket is None:
            return None, None
        if ticket.blob is None:
            return ticket, message.data
        try:
            return ticket, await self._bus.get_blob(f"{finish.project}.{finish.job}", ticket.blob, of="job")
        except (NotFound, TooLarge):
            return ticket, None
        except BusError as error:
            if type(error) is BusError:  # other bytes than were announced: nothing that asking again could mend
                return ticket, None
            raise

    async def _at(self, seq: int) -> Message | None:
        try:
            return await self._bus.get(self._submit, seq)
        except NotFound:
            return None

    async def _store(self, project: str, job: str, body: bytes) -> tuple[BlobRef, int]:
        """The body beside the letter-to-be, and the sequence of its first piece."""
        digest = sha256(body).hexdigest()
        size = min(PIECE, self._bus.max_payload // 2)
        pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        first = 0
        for index, piece in enumerate(pieces):
            ack = await self._bus.append(subjects.letter_body(project, job, digest, index), piece)
            first = first or ack.seq
        return BlobRef(chunks=len(pieces), size=len(body), sha256=digest), first

    # -- finding

    async def find(self, project: str, job: str) -> tuple[DeadLetter, int] | None:
        """A letter and its sequence; one that cannot be read counts as none that is worth keeping."""
        try:
            message = await self._bus.last(subjects.DEAD, subjects.dead(project, job))
        except NotFound:
            return None
        letter = read(message)
        return (letter, message.seq) if letter is not None else (_unknown(project, job), message.seq)

    async def after(self, project: str, place: int) -> AsyncIterator[tuple[str, DeadLetter, int]]:
        """Name, letter and sequence of each behind a place, one question to the broker each."""
        while True:
            try:
                message = await self._bus.next(subjects.DEAD, place + 1, subjects.letters_of(project))
            except NotFound:
                return
            place = message.seq
            letter = read(message)
            name = subjects.project_and_job(message.subject)[1]
            yield name, letter if letter is not None else _unknown(project, name), place

    async def many(self, project: str | None, place: int) -> AsyncIterator[tuple[str, str, DeadLetter, int]]:
        """The same of one project or of all, with whose it is, and many at a question: for lists and sums.

        What a replica does not have yet is asked of the one that leads; it may show one that was replaced a moment ago.
        """
        wanted = subjects.letters_of(project or "*")
        while True:
            run = await self._bus.run(subjects.DEAD, place + 1, wanted)
            if not run:
                try:
                    run = (await self._bus.next(subjects.DEAD, place + 1, wanted),)
                except NotFound:
                    return
            for message in run:
                place = message.seq
                whose, name = subjects.project_and_job(message.subject)
                letter = read(message)
                yield whose, name, letter if letter is not None else _unknown(whose, name), place

    async def body(self, project: str, job: str, blob: BlobRef) -> bytes:
        """A letter's body, whole. Raises NotFound if a part is gone, BusError if it is not what it was."""
        pieces = [await self.piece(project, job, blob, index) for index in range(blob.chunks)]
        data = b"".join(pieces)
        if sha256(data).hexdigest() != blob.sha256:
            raise NotFound(f"the body beside the letter of {job} is not what it was")
        return data

    async def piece(self, project: str, job: str, blob: BlobRef, index: int) -> bytes:
        """One piece of it."""
        subject = subjects.letter_body(project, job, blob.sha256, index)
        return (await self._bus.last(subjects.DEAD, subject)).data

    # -- changing

    async def replace(self, letter: DeadLetter, name: str, seq: int) -> int:
        """Put a letter in the place of the one at ``seq`` (0: of none). Raises WrongSequence if that was replaced."""
        subject = subjects.dead(letter.project, name)
        return (await self._bus.append(subject, encode(letter), headers=REPLACE, expect_last=seq)).seq

    async def close(self, letter: DeadLetter, project: str, name: str, seq: int) -> None:
        """Put a replayed or discarded letter in its place; its body goes."""
        subject = subjects.dead(project, name)
        closed = letter.model_copy(update={"blob": None, "body": "", "headers": {}, "closed": self._clock.wall()})
        await self._bus.append(subject, encode(closed), headers=REPLACE, expect_last=seq)
        await self._drop_body(project, name)

    async def withdraw(self, project: str, job: str, token: str) -> None:
        """Remove the letter of a job that has an answer after all."""
        found = await self.find(project, job)
        if found is not None and found[0].token == token:
            await self._bus.delete(subjects.DEAD, found[1])
            await self._drop_body(project, job)
            self._telemetry.emit("letter.withdrawn", INFO, job_id=job)

    async def _drop_body(self, project: str, job: str, *, below: int = 2**63 - 1) -> None:
        await self._bus.purge(subjects.DEAD, below=below, subjects=f"{subjects.dead(project, job)}.*.*")


def read(message: Message) -> DeadLetter | None:
    """A stored letter; ``None`` if this version cannot read it."""
    try:
        return decode(DeadLetter, message.data)
    except ContractError:
        return None


def _ticket(message: Message) -> Ticket | None:
    try:
        return decode(Ticket, (message.headers or {}).get(subjects.H_TICKET, ""))
    except ContractError:
        return None


def _unknown(project: str, job: str) -> DeadLetter:
    words = "this letter cannot be read by this version"
    return DeadLetter(
        project=project, job=job, reason="unreadable", detail=words, fingerprint=fingerprint("letter"), at=0.0
    )

"""One batch at one edge, from its first look to its end; each step is safe to die after, and to be done by two.

validating: the file is looked over, nothing is submitted. running: lines become jobs, and ends of jobs become lines;
which lines are there is read from their stream alone. finalizing: all lines are there, and are written into the files
of results, chunk by chunk, the same whoever writes them. ended: the record says so; then the lines are removed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.batches.answering import Answering
from gateway.batches.kinds import KINDS
from gateway.batches.lines import Lines, LineTooLong, label_in, number_of, rows
from gateway.bodies.batch_lines import Account, Checker, line_of, not_asked
from gateway.bodies.failures import Failed
from gateway.bodies.openai_batches import LineError
from gateway.bodies.openai_files import FileHead, Part
from job_contracts.keys import Scope
from runtime.bus.port import NotFound, WrongSequence
from runtime.telemetry import DEBUG, INFO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.batches.claim import Claim
    from gateway.bodies.openai_batches import Batch
    from gateway.edge import Edge
    from runtime.bus.port import Message

PARTS: tuple[Part, Part] = ("output", "errors")


class Runner:
    """Works on one batch. ``run`` returns when nothing is left to do; raises Lost when another edge has taken over."""

    def __init__(self, edge: Edge, claim: Claim) -> None:
        self._edge = edge
        self._claim = claim
        self._lines = Lines(edge.bus, claim.batch)
        self._account: Account | None = None

    @property
    def batch(self) -> Batch:
        """As it was last read or written here."""
        return self._claim.batch

    async def run(self) -> None:
        """Go on where the record says it is."""
        beating = asyncio.create_task(self._beat(), name=f"beat {self.batch.id}")
        working = asyncio.create_task(self._work(), name=f"batch {self.batch.id}")
        try:
            done, _ = await asyncio.wait({beating, working}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (beating, working):
                task.cancel()
            await asyncio.gather(beating, working, return_exceptions=True)

    async def _work(self) -> None:
        if self.batch.phase == "validating":
            await self._validate()
        if self.batch.phase == "running":
            await self._answer()
        if self.batch.phase == "finalizing":
            await self._finalize()
        await self._lines.clear()
        await self._claim.write(cleared=True, owner="")

    async def _beat(self) -> None:
        """Signs of life, with the counts as they are."""
        while True:
            await asyncio.sleep(self._edge.settings.batches.beat)
            await self._tell()

    async def _tell(self) -> None:
        account = self._account
        if account is None:
            await self._claim.write()
            return
        if account.counts.failed and not self.batch.has_errors:
            await self._edge.files.add(self.batch.project, await self._head("errors"))
        await self._claim.write(
            counts=account.counts, marks=account.marks, has_errors=self.batch.has_errors or account.counts.failed > 0
        )

    async def _head(self, part: Part) -> FileHead:
        return head_of(self.batch, part, self._edge.files.chunk, self._edge.files.expiry(None))

    # -- validating

    async def _validate(self) -> None:
        batch, edge = self.batch, self._edge
        checker = Checker(batch.wish.endpoint, edge.settings.batches.max_lines)
        try:
            async for row in rows(edge.files, batch.project, batch.input):
                checker.take(row)
                if checker.full:
                    break
            else:
                checker.end()
        except LineTooLong:
            checker.errors.append(LineError(code="line_too_long", message="a line of the file is too long"))
        except NotFound:
            checker.errors.append(LineError(code="file_not_found", message="the input file is not there any more"))
        now = edge.clock.wall()
        if checker.errors:
            await self._claim.write(phase="ended", errors=tuple(checker.errors), ended_at=now)
            with suppress(Failed):  # it is not there
                await edge.files.remove(batch.project, batch.output_file)
            edge.telemetry.emit("batch.refused", INFO, batch=batch.id, errors=len(checker.errors))
            return
        await edge.files.add(batch.project, await self._head("output"))
        await self._claim.write(phase="running", total=checker.total, in_progress_at=now)
        edge.telemetry.emit("batch.validated", INFO, batch=batch.id, lines=checker.total)

    # -- running

    async def _answer(self) -> None:
        batch, edge = self.batch, self._edge
        account = Account(batch.total)
        complete = asyncio.Event()

        def stored(message: Message) -> None:
            account.take(number_of(message), label_in(message), message.seq)
            if not account.left:
                complete.set()

        tail = await self._lines.follow(stored)
        self._account = account
        try:
            if account.left:
                await self._feed(account)
                await complete.wait()
            await self._tell()
            await self._claim.write(phase="finalizing", finalizing_at=edge.clock.wall())
            edge.telemetry.emit("batch.complete", DEBUG, batch=batch.id)
        finally:
            self._account = None
            await tail.close()

    async def _feed(self, account: Account) -> None:
        """Ask every request that has no output line yet."""
        batch, edge, settings = self.batch, self._edge, self._edge.settings.batches
        answering = Answering(
            batch,
            KINDS[batch.wish.endpoint],
            producer=edge.producers.of(batch.project),
            scope=Scope.model_validate(batch.scope),
            clock=edge.clock,
            telemetry=edge.telemetry,
            called_off=self._claim.called_off,
        )
        window = _Window(settings.in_flight, settings.in_flight_bytes)
        calling_off = asyncio.create_task(self._call_off(answering))
        try:
            async with asyncio.TaskGroup() as group:
                async for number, row in self._requests():
                    if account.done[number]:
                        continue
                    await window.enter(len(row))
                    if answering.over() is None and number >= self.batch.reach:
                        # As many at once as are under way: of those within reach few are then asked after in vain.
                        await self._claim.write(reach=number + settings.in_flight)
                    group.create_task(self._one(answering, window, number, row))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several
        finally:
            calling_off.cancel()

    async def _call_off(self, answering: Answering) -> None:
        await self._claim.called_off.wait()
        await answering.cancel_all()

    async def _requests(self) -> AsyncIterator[tuple[int, bytes]]:
        number = 0
        async for row in rows(self._edge.files, self.batch.project, self.batch.input):
            if row.strip():
                yield number, row
                number += 1

    async def _one(self, answering: Answering, window: _Window, number: int, row: bytes) -> None:
        line = line_of(number, row)
        over = answering.over()
        if over is not None and number >= self.batch.reach:
            said, text = over, not_asked(self.batch.id, line, over)
        else:
            said, text = await answering.ask(line)
        await self._lines.store(number, said, text)
        window.leave(len(row))
        self._edge.telemetry.emit("batch.line_stored")

    # -- finalizing

    async def _finalize(self) -> None:
        batch, edge = self.batch, self._edge
        heads = {part: await edge.files.found(batch.project, batch.file(part)) for part in PARTS}
        writers = {
            part: edge.files.writer(batch.project, batch.file(part), chunk=found[0].chunk)
            for part, found in heads.items()
            if found is not None and found[0].live
        }
        left, seq = batch.total, 1
        while left and writers:
            for message in await self._lines.page(seq):
                label = label_in(message)
                if (writer := writers.get(label.part)) is not None:
                    async for piece in self._lines.text(message, label):
                        await writer.write(piece)
                left -= 1
                seq = message.seq + 1
        for writer in writers.values():
            await writer.end()
        edge.telemetry.emit("batch.written", batch=batch.id)
        for part, writer in writers.items():
            await self._complete(part, writer.size)
        await self._claim.write(phase="ended", ended_at=edge.clock.wall())
        edge.telemetry.emit(
            "batch.ended", INFO, batch=batch.id, status=self.batch.status, **self.batch.counts.model_dump()
        )

    async def _complete(self, part: Part, size: int) -> None:
        """Let a file of results be one like any other, unless it was deleted meanwhile."""
        files, batch = self._edge.files, self.batch
        found = await files.found(batch.project, batch.file(part))
        if found is None or not found[0].live:
            return
        expires = files.expiry(batch.wish.output_expires_after)
        head = found[0].model_copy(update={"bytes": size, "live": False, "expires_at": expires})
        with suppress(WrongSequence):  # it was deleted, or another edge has done the same
            await files.change(batch.project, head, seen=found[1])


def head_of(batch: Batch, part: Part, chunk: int, expires_at: float) -> FileHead:
    """The head of a file of results while its batch goes on."""
    return FileHead(
        id=batch.file(part),
        chunk=chunk,
        created_at=batch.created_at,
        expires_at=expires_at,
        filename=f"{batch.id}_{part}.jsonl",
        purpose="batch_output",
        batch=batch.id,
        part=part,
        live=True,
    )


@dataclass
class _Window:
    """How much may be under way: so many requests, so many bytes of them; one of any size always may."""

    most: int
    most_bytes: int
    count: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._freed = asyncio.Event()

    async def enter(self, size: int) -> None:
        while self.count and (self.count >= self.most or self.bytes + size > self.most_bytes):
            self._freed.clear()
            await self._freed.wait()
        self.count += 1
        self.bytes += size

    def leave(self, size: int) -> None:
        self.count -= 1
        self.bytes -= size
        self._freed.set()

"""The terminal records the leader writes itself: failed, cancelled, expired and dead jobs, and what is set aside."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.jobs import JobState
from job_contracts.letters import leaves_letter, shortened, told
from job_contracts.results import Result, Settlement, Times, cost_of_all
from runtime.bus.port import BusError, NotFound, OutcomeUnknown, TooLarge, Undecided, Unreachable, WrongSequence
from runtime.telemetry import ERROR, INFO
from scheduler.letters import Letters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Literal

    from runtime.bus.port import Message
    from scheduler.policy.decisions import Finish
    from scheduler.term import Term

AT_ONCE = 256
"""Records written at the same time: a thousand jobs may expire in one moment. One that waits to be tried again is none
of them: however many wait, another one's turn comes."""
BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between two tries of a record; the last one repeats."""

ROOM = 8 * 1024
"""Bytes of a message that are left to its headers."""
BARE = 2
"""How often a record may be too large until no attempt is told of: a few of them, in short, have not fitted either."""
REFUSALS = 5
"""How often the broker may refuse a letter: by then it is no race but, say, a stream that was made without us."""


class Endings:
    """Writes each ``Finish`` as a create-only result, in the background, until the broker has decided."""

    def __init__(self, term: Term) -> None:
        self._bus = term.bus
        self._clock = term.clock
        self._background = term.background
        self._letters = Letters(term)
        self._telemetry = term.telemetry
        self._republish = term.republish
        self._ttl = term.config.nats.result_ttl
        self._lease = term.lease
        self._tracing, self._entries = term.tracing, term.submissions.entries
        self.on_existing: Callable[[Message], None] = lambda _: None
        """Told of the record that stands already where one was to be written."""
        self._writing: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    def write(self, finish: Finish) -> None:
        """Start writing; the result's own tail tells when it is there."""
        task = asyncio.get_running_loop().create_task(self._until_written(finish), name=f"ending {finish.job}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def stop(self) -> None:
        """Stop trying; the next leader decides anew what is not written."""
        for task in tuple(self._writing):
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def set_aside(
        self, message: Message, stream: str, reason: Literal["unreadable", "invalid"], detail: str
    ) -> None:
        """Keep an unreadable message as a dead letter. Raises BusError when it could not be kept."""
        await self._letters.set_aside(message, stream, reason, detail)

    async def _until_written(self, finish: Finish) -> None:
        """A try at a time; a bug on the way is told, and must not leave the job without its end."""
        if _set_aside(finish):  # first: the submission with the body goes as soon as there is a result
            await self._keep_letter(finish)
        too_large = 0
        for pause in _pauses():
            try:
                async with self._places:
                    if await self._written(finish, too_large):
                        return
            except BusError as error:
                too_large += isinstance(error, TooLarge)
                self._telemetry.emit("ending.retried", INFO, job_id=finish.job, error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - the top of the errand
                self._telemetry.emit("ending.failed", ERROR, job_id=finish.job, error=type(error).__name__)
            await asyncio.sleep(pause)

    async def _written(self, finish: Finish, too_large: int) -> bool:
        """Whether the job has its result now, of which ``too_large`` forms have been refused. Raises BusError."""
        result = await self._as_drafted(finish)
        if result is None:
            if finish.draft is not None:
                finish = replace(finish, state=JobState.FAILED, draft=None)
            result = self._record(finish, await self._letters.replay_of(finish))
        key = (finish.project, finish.job)
        headers = {**_settlement(finish, result), **self._tracing.header(key, self._entries.get(key))}
        data = encode(_brief(result, too_large))
        try:
            await self._bus.append(subjects.result(*key), data, headers=headers, expect_last=0, ttl=self._ttl)
        except WrongSequence:
            return await self._acknowledged(finish)
        self._telemetry.emit("ending.stored", job_id=finish.job)
        return True

    async def _acknowledged(self, finish: Finish) -> bool:
        """The job has a result: a worker was faster, or it ended long ago and was submitted again.

        False if that has expired just now: then this end is its only one. Raises BusError.
        """
        try:
            standing = await self._bus.last(subjects.RES, subjects.result(finish.project, finish.job))
        except NotFound:
            return False
        self.on_existing(standing)
        self._republish(finish.project, finish.job)
        if _set_aside(finish) and _answered(standing):
            self._background.start(self._letters.withdraw(finish.project, finish.job, finish.token))
        return True

    async def _as_drafted(self, finish: Finish) -> Result | None:
        """The draft as the answer, which nobody has verified; ``None`` if there is none any more. Raises BusError."""
        if finish.draft is None:
            return None
        blob = finish.draft.blob
        try:
            drafted = decode(Result, await self._bus.get_blob(f"{finish.project}.{finish.job}", blob, of="result"))
        except (NotFound, TooLarge, ContractError):
            return None
        except BusError as error:
            if type(error) is BusError:  # other bytes than were announced: nothing that asking again could mend
                return None
            raise
        changed = {
            "nonce": f"leader.{self._lease.epoch}",
            "attempts": finish.history,
            "cost": cost_of_all(finish.history),
            "times": drafted.times.model_copy(update={"finished": self._clock.wall()}),
        }
        result = drafted.model_copy(update=changed)
        if len(encode(result)) > self._bus.max_payload - ROOM:
            return result.model_copy(update={"answer": None, "blob": blob})
        return result

    def _record(self, finish: Finish, replay_of: str | None) -> Result:
        return Result(
            job=finish.job,
            project=finish.project,
            state=finish.state,
            route=finish.route,
            token=finish.token,
            body_hash=finish.body_hash,
            nonce=f"leader.{self._lease.epoch}",
            attempts=finish.history,
            cost=cost_of_all(finish.history),
            failure=finish.failure,
            times=Times(submitted=finish.submitted, finished=self._clock.wall()),
            replay_of=replay_of,
        )

    async def _keep_letter(self, finish: Finish) -> None:
        """Until it is kept. What the broker refuses for good, and a bug, cost the letter, not the job its end."""
        refusals = 0
        for pause in _pauses():
            try:
                await self._letters.keep(finish)
            except (OutcomeUnknown, Unreachable, Undecided):
                await asyncio.sleep(pause)
            except Exception as error:  # noqa: BLE001 - see above
                refusals += 1
                if refusals == REFUSALS or not isinstance(error, BusError):
                    self._telemetry.emit("letter.failed", ERROR, job_id=finish.job, error=type(error).__name__)
                    return
                await asyncio.sleep(pause)
            else:
                self._telemetry.emit("letter.stored", job_id=finish.job)
                return


def _brief(result: Result, too_large: int) -> Result:
    """The record, or what is left of it where that was too large for a message: that the job ends comes first."""
    if too_large:
        said = {"attempts": told(result.attempts), "failure": shortened(result.failure)}
        result = result.model_copy(update=said)
    return result if too_large < BARE else result.model_copy(update={"attempts": (), "replay_of": None})


def _settlement(finish: Finish, result: Result) -> Mapping[str, str]:
    """What the scheduler reads of the record."""
    settlement = Settlement(
        state=finish.state,
        token=finish.token,
        body_hash=finish.body_hash,
        trial=finish.trial,
        cost=result.cost,
        finished=result.times.finished,
    )
    return {subjects.H_SETTLEMENT: encode(settlement).decode()}


def _set_aside(finish: Finish) -> bool:
    return leaves_letter(finish.job, finish.state, finish.failure, finish.history)


def _answered(record: Message) -> bool:
    try:
        settlement = decode(Settlement, (record.headers or {}).get(subjects.H_SETTLEMENT, ""))
    except ContractError:
        return False
    return settlement.state is JobState.SUCCEEDED


def _pauses() -> Iterator[float]:
    yield from BACKOFF
    while True:
        yield BACKOFF[-1]

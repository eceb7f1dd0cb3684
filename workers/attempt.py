"""One attempt: adapt, fit, encode, send, decode, tell the tokens; in every case it comes to one ``Ending``.

What is asked is made ready first: images are fetched and converted, the prompt is counted. That may outlast the grant;
then it is kept for the job's next attempt (``prepared``). The job's deadline bounds it.

What is waited for: the connection (``connect``), then for a streamed answer the first token (``first_token``), then
any further bytes (``stall``); ``total``, or the job's deadline if that is sooner, bounds everything. A plain answer
comes in one piece when it is done: ``first_token`` has no meaning for it, ``stall`` counts once its body has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from job_contracts.attempts import Assignment, LimitReading
from job_contracts.chat import Conversation, Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job
from job_contracts.results import Loss
from job_contracts.stream import Delta, EndDelta
from job_contracts.tracing import Trace
from runtime.service import place_of
from runtime.telemetry import ERROR
from workers.adapting import adapted
from workers.answers.expected import Expected, holds, reminded
from workers.answers.screen import Screen
from workers.bounding import bounded
from workers.charging import charge_of
from workers.contest import contest_of
from workers.continuing import Carried, as_refusal, start_of
from workers.dialects.port import Decoded, Decoder, Target
from workers.endpoint import Endpoint
from workers.fitting import Fitted, overflows
from workers.http import CallFailed, Reply
from workers.places import Places, places, put_back
from workers.prepared import Ready
from workers.questions import Question, of_conversation, of_texts
from workers.records import Ending, known_usage, partial_usage, placed
from workers.streaming import TokenStream
from workers.sureness import asked_how_sure
from workers.watch import Watch
from workers.wording import redirected, stopped_by_us

__all__ = ["Attempt"]

T = TypeVar("T")

MAX_ERROR_BODY = 256 * 1024
"""Bytes read of an answer that only describes an error."""
ERROR_PATIENCE = 5.0
"""Seconds for the body of such an answer."""


class _Stopped(Exception):
    """The attempt ends here, for a reason of our own."""

    def __init__(self, kind: FailureKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class Attempt:
    """One assignment on its way to an ending."""

    __slots__ = (
        "_calling", "_carried", "_decoder", "_endpoint", "_error_body", "_expected", "_first_token", "_fitted",
        "_losses", "_places", "_reason", "_started", "_started_wall", "_stream", "assignment", "called", "contest",
        "id", "outrun", "reply", "target", "trace",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, assignment: Assignment, stir: Callable[[], None] = lambda: None) -> None:
        self.assignment = assignment
        self.id = assignment.attempt_id
        self.contest = contest_of(assignment, stir)
        self.outrun = False
        self.trace: Trace | None = None
        self.target: Target | None = None
        self.reply: Reply | None = None
        self._endpoint = endpoint
        self._started, self._started_wall = endpoint.clock.monotonic(), endpoint.clock.wall()
        self._reason: FailureKind | None = None
        self._calling: asyncio.Task[Any] | None = None
        self.called = False
        self._first_token: float | None = None
        self._losses: tuple[Loss, ...] = ()
        self._fitted: Fitted | None = None
        self._places: Places | None = None
        self._carried: Carried | None = None
        self._decoder: Decoder | None = None
        self._stream: TokenStream | Screen | None = None
        self._expected: Expected | None = None
        self._error_body = bytearray()

    def interrupt(self, kind: FailureKind) -> None:
        """Stop the attempt (``CANCELLED``, ``HANDED_BACK``): a running call is closed, a waiting one never starts.

        After the answer is complete it has no effect, nor has a second interrupt.
        """
        if self._reason is None:
            self._reason = kind
            if self._calling is not None:
                self._calling.cancel()

    async def run(self, job: Job) -> Ending:
        """Make the attempt. Raises nothing but CancelledError; a bug becomes the failure ``INTERNAL``."""
        try:
            try:
                return await self._run(job)
            except CallFailed as broken:
                return self.failed(broken.failure)
            except _Stopped as stopped:
                how = {"called": self.called, "outrun": self.outrun}
                return self.failed(stopped_by_us(stopped.kind, self.assignment.timeouts, **how))
        except Exception as error:  # noqa: BLE001 - the top of the attempt: a bug ends one attempt, not the pool
            return self.broken(error)
        finally:
            if self._stream is not None:
                self._stream.abandon()
            if self.contest is not None:
                self.contest.stop()

    def failed(self, failure: Failure) -> Ending:
        """The ending for a failure, with what is known of its cost."""
        partial = self._decoder.partial if self._decoder is not None else None
        produced = self._first_token is not None or (partial is not None and partial.produced)
        usage = Usage()
        if self.called and not self._never_sent(failure) and not self._was_error_answer:
            usage = partial_usage(partial, self._prompt, self._unseen)
        if self.called and failure.kind is FailureKind.CONTEXT_OVERFLOW and self._fitted is not None:
            self._endpoint.fitting.overflowed(self._fitted)
        limits: tuple[LimitReading, ...] = ()
        if self.reply is not None and self.target is not None:
            limits = self._endpoint.dialect(self.target).limits(self.target, self.reply.headers)
        carries = self._carried is not None and not produced
        placed_failure = placed(as_refusal(failure) if carries else failure, self.assignment, produced=produced)
        stated = partial.cost if partial is not None and usage.reported and usage.total else None
        return self._ending(failure=placed_failure, usage=usage, limits=limits, stated=stated)

    def broken(self, error: Exception, made: Ending | None = None) -> Ending:
        """The ending for a bug of ours: its type and place are told, its text may hold content. ``made``: as it had
        ended before, and what that cost.
        """
        where = place_of(error)
        self._endpoint.telemetry.emit("attempt.broken", ERROR, attempt=self.id, error=type(error).__name__, place=where)
        words = f"the worker failed unexpectedly ({type(error).__name__})"
        failure = placed(Failure(kind=FailureKind.INTERNAL, message=words), self.assignment, produced=False)
        if made is not None:
            return made.failed(failure)
        usage = partial_usage(None, self._prompt, self._unseen) if self.called else Usage()
        return self._ending(failure=failure, usage=usage)

    async def close(self) -> None:
        """Give the connection back; called after the result is stored, by when the answer's very end has come too."""
        if self.reply is not None:
            try:
                await self.reply.close()
            except Exception as error:  # noqa: BLE001 - whatever a transport does here, the attempt has ended
                self._endpoint.telemetry.emit("attempt.close_failed", ERROR, error=type(error).__name__)

    # -- the steps

    async def _run(self, job: Job) -> Ending:
        endpoint, assignment = self._endpoint, self.assignment
        self._check()
        self._guard(job)
        if holds(job, assignment):
            self._expected = await self._interruptible(endpoint.answers.expected(job, assignment))
        question = await self._question(job)
        await self._interruptible(endpoint.smoothing.turn(assignment.grant.domain, assignment.model))
        try:
            self._check()
        except _Stopped as stopped:
            if stopped.kind is FailureKind.GRANT_EXPIRED:
                self._keep(question)
            raise
        self._started, self._started_wall = endpoint.clock.monotonic(), endpoint.clock.wall()
        if self._expected is not None:
            self._expected.asked(question.encoded)
        decoded = await self._call(question)
        usage = known_usage(decoded, question.estimate)
        if self._fitted is not None:
            endpoint.fitting.learn(self._fitted, usage)
        if self._expected is not None:
            decoded = await self._interruptible(self._expected.judged(decoded))
        self._losses += decoded.losses
        if self._stream is not None:
            await self._stream.end(EndDelta(finish_reason=decoded.finish_reason, usage=usage))
        return self._ending(decoded=decoded, usage=usage, stated=decoded.cost)

    def _guard(self, job: Job) -> None:
        """Raises CallFailed if the job's constraints keep it from here: nothing is fetched or sent for it."""
        endpoint = self._endpoint
        if endpoint.guard is not None:
            turned_away = endpoint.guard.turns_away(self.assignment, job, endpoint.clock.wall())
            if turned_away is not None:
                raise CallFailed(turned_away)

    async def _question(self, job: Job) -> Question:
        """The request, whatever kind of job it is. Raises CallFailed if this target cannot be asked it."""
        endpoint, assignment = self._endpoint, self.assignment
        if job.embedding is not None:  # never streamed: there is nothing to see of vectors that are half done
            target = self.target = endpoint.target(assignment.model, stream=False)
            asked = of_texts(job.embedding, target)
            if isinstance(asked, Failure):
                raise CallFailed(asked)
            self._losses = asked.encoded.losses
            return asked
        kept = endpoint.prepared.take(assignment, endpoint.clock.monotonic(), overflows=overflows(assignment))
        if kept is not None:
            self.target, self._fitted, self._losses = kept.target, kept.fitted, kept.losses
            self._carried = kept.carried
            return kept.question
        conversation, self._losses = adapted(job.chat, assignment.adaptation)
        conversation = asked_how_sure(reminded(conversation, assignment), assignment.checking)
        target = self.target = endpoint.target(assignment.model, stream=assignment.stream)
        if assignment.continues is not None and endpoint.sent is not None:
            going_on = endpoint.sent.begun(assignment, conversation, target)
            conversation, self._carried, clamped = await self._interruptible(going_on)
            self._losses += clamped
        if conversation is not job.chat:
            self._places = places(job.chat.messages, conversation.messages)
        held = bounded(conversation, assignment.grant.max_output, target)
        if isinstance(held, Failure):
            raise CallFailed(held)
        conversation = held[0]
        self._losses += held[1]
        watch = self._watch_deadline()
        try:
            fitted = self._fitted = await self._interruptible(self._fit(conversation, target))
        finally:
            if watch is not None:
                watch.stop()
        question = of_conversation(fitted.conversation, target, endpoint.dialect(target), estimate=fitted.estimate)
        encoded = question.encoded.losses if fitted.places is None else put_back(question.encoded.losses, fitted.places)
        self._losses += self._told((*fitted.losses, *encoded))
        return question if self._carried is None else self._carried.read_as_one(question)

    async def _fit(self, conversation: Conversation, target: Target) -> Fitted:
        """The conversation in a form and a length that the target takes. Raises CallFailed if there is none."""
        conversation, converted = await self._endpoint.images.prepared(conversation, target)
        self._losses += self._told(converted)
        return await self._endpoint.fitting.fit(conversation, target, self.assignment)

    def _told(self, losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
        """Losses of the conversation that the route has changed, at the places of the job's own."""
        return losses if self._places is None else put_back(losses, self._places)

    def _keep(self, question: Question) -> None:
        """All of it was for nothing, but for the next attempt."""
        endpoint, assignment = self._endpoint, self.assignment
        if self.target is not None and self._fitted is not None:
            ready = Ready(question, self.target, self._fitted, self._losses, self._carried)
            endpoint.prepared.keep(assignment, ready, endpoint.clock.monotonic(), overflows=overflows(assignment))

    def _watch_deadline(self) -> Watch | None:
        """Interrupts what goes on before the call when the job's deadline comes."""
        if self.assignment.deadline is None:
            return None
        left = self.assignment.deadline - self._endpoint.clock.wall()
        return Watch(asyncio.get_running_loop(), self.interrupt, total=left, kind=FailureKind.EXPIRED)

    def _check(self) -> None:
        """Whether the attempt may (still) be made."""
        assignment, now = self.assignment, self._endpoint.clock.wall()
        if self._reason is not None:
            raise _Stopped(self._reason)
        if assignment.deadline is not None and now >= assignment.deadline:
            raise _Stopped(FailureKind.EXPIRED)
        if now + self._endpoint.leader.ahead - assignment.grant.granted > assignment.grant.valid_for:
            raise _Stopped(FailureKind.GRANT_EXPIRED)

    async def _call(self, question: Question) -> Decoded:
        total, kind = self.assignment.timeouts.total, FailureKind.TOTAL_TIMEOUT
        if self.assignment.deadline is not None:
            left = self.assignment.deadline - self._endpoint.clock.wall()
            if left < total:
                total, kind = left, FailureKind.EXPIRED
        watch = Watch(asyncio.get_running_loop(), self.interrupt, total=total, kind=kind)
        try:
            return await self._interruptible(self._exchange(question, watch))
        except (CallFailed, _Stopped):
            if self._reason in (FailureKind.CANCELLED, FailureKind.HANDED_BACK):
                raise
            if self._was_error_answer:  # only its description was cut short
                raise CallFailed(self._error()) from None
            # An answer whose end had come before the connection broke is whole.
            whole = self._decoder.finish() if self._decoder is not None else None
            if isinstance(whole, Decoded):
                return whole
            raise
        finally:
            watch.stop()

    async def _exchange(self, question: Question, watch: Watch) -> Decoded:
        endpoint, timeouts, send = self._endpoint, self.assignment.timeouts, self._endpoint.upstream.send
        streamed = self.target is not None and self.target.stream
        if streamed:
            watch.expect(FailureKind.FIRST_TOKEN_TIMEOUT, timeouts.first_token)
        self.called = True
        if self.contest is not None:
            self.contest.call()
        reply = self.reply = await send(question.encoded, attempt_id=self.id, connect=timeouts.connect)
        endpoint.telemetry.emit("attempt.answering", attempt=self.id, status=reply.status)
        if self._was_error_answer:
            watch.expect(FailureKind.STALLED, ERROR_PATIENCE)
            while len(self._error_body) < MAX_ERROR_BODY and (data := await reply.read()):
                self._error_body += data
            raise CallFailed(self._error())
        decoder = question.decoder(content_type=reply.content_type, max_bytes=endpoint.upstream.max_bytes)
        self._decoder = decoder
        stream = self._begin_stream() if streamed and decoder.failure is None else None
        while decoder.failure is None and not decoder.complete and (data := await reply.read()):
            deltas = decoder.feed(data)
            if stream is not None and deltas:
                first = self._first_token is None
                if first:
                    self._first_token = endpoint.clock.monotonic() - self._started
                if first and self.contest is not None:
                    watch.expect(FailureKind.STALLED, timeouts.stall)
                    await self._show(stream, deltas)
                else:
                    await stream.add(deltas)
            if self._first_token is not None or (not streamed and not data.isspace()):
                watch.expect(FailureKind.STALLED, timeouts.stall)
        finished = decoder.finish()
        if isinstance(finished, Failure):
            raise CallFailed(finished)
        return finished

    def _begin_stream(self) -> TokenStream | Screen:
        given, expected = self.assignment, self._expected
        opened = self._endpoint.streams.open(given.project, given.job_id, given.attempt, quiet=given.hedge)
        stream = self._stream = opened if expected is None else expected.screen(opened)
        stream.start(*start_of(given, self._carried))
        return stream

    async def _show(self, stream: TokenStream | Screen, deltas: Sequence[Delta]) -> None:
        """The first tokens of an attempt that may be one of two. Raises _Stopped if the other one was faster."""
        if self.contest is not None and not await self.contest.show(stream, deltas):
            self.outrun, self._reason = True, FailureKind.HANDED_BACK
            raise _Stopped(self._reason)

    def _never_sent(self, failure: Failure) -> bool:
        """Whether it shows that the provider has not seen the request: no connection, or nothing to prove who asks."""
        return failure.kind is FailureKind.CONNECT or (failure.kind is FailureKind.AUTH and self.reply is None)

    @property
    def _was_error_answer(self) -> bool:
        return self.reply is not None and not 200 <= self.reply.status < 300

    def _error(self) -> Failure:
        """What an answer with another status than 2xx says, as far as its description came."""
        reply, target = self.reply, self.target
        assert reply is not None and target is not None  # noqa: S101, PT018 - an error answer is an answer
        if 300 <= reply.status < 400:
            return redirected(reply.status)
        body = bytes(self._error_body[:MAX_ERROR_BODY])
        return self._endpoint.dialect(target).failure(target, reply.status, reply.headers, body)

    async def _interruptible(self, step: Coroutine[Any, Any, T]) -> T:
        """Await ``step`` such that ``interrupt`` ends it. Raises _Stopped with the interrupt's kind."""
        task = self._calling = asyncio.current_task()
        try:
            return await step
        except asyncio.CancelledError:
            if self._reason is None or task is None:
                raise  # somebody else's: the process ends
            task.uncancel()
            self.called = self.called and not self._endpoint.upstream.withdraw(self.id)
            raise _Stopped(self._reason) from None
        finally:
            self._calling = None

    # -- the ending

    @property
    def _prompt(self) -> int:
        """Tokens of what was asked, as well as can be known."""
        fitted = self._fitted
        known = fitted is not None and fitted.calibration is not None
        return fitted.estimate() if fitted is not None and known else self.assignment.grant.input_tokens

    @property
    def _unseen(self) -> int:
        """Tokens of an answer that comes in one piece, once the attempt is stopped while it is being made: what was
        expected of it, as nothing of it can be seen.
        """
        hidden = self._reason is not None and self.target is not None and not self.target.stream
        expected = self.assignment.grant.output_tokens if hidden else 0
        return min(expected, self.assignment.grant.max_output or expected)

    def _ending(
        self,
        *,
        usage: Usage,
        decoded: Decoded | None = None,
        failure: Failure | None = None,
        limits: tuple[LimitReading, ...] = (),
        stated: Decimal | None = None,
    ) -> Ending:
        failed = failure is not None
        book, model, at = self._endpoint.prices, self.assignment.model, self._started_wall
        return Ending(
            started=self._started_wall,
            seconds=self._endpoint.clock.monotonic() - self._started,
            decoded=decoded,
            failure=failure,
            called=self.called,
            first_token=self._first_token,
            usage=usage,
            charge=charge_of(book, model, usage, at=at, stated=stated, failed=failed),
            losses=self._losses,
            limits=limits,
            continued=None if self._carried is None else self._carried.attempt,
            fits=self._expected is None or self._expected.fits,
        )

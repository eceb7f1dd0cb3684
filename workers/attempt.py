"""One attempt: prepare, send, decode, tell the tokens; in every case it comes to one ``Ending``.

What is waited for: the connection (``connect``), then for a streamed answer the first token (``first_token``), then
any further bytes (``stall``); ``total``, or the job's deadline if that is sooner, bounds everything. A plain answer
comes in one piece when it is done: ``first_token`` has no meaning for it, ``stall`` counts once its body has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal

from job_contracts.attempts import Assignment, LimitReading
from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job
from job_contracts.stream import Delta, EndDelta
from job_contracts.tracing import Trace
from runtime.service import place_of
from runtime.telemetry import ERROR
from workers.answers.apart import NotStarted
from workers.answers.expected import Expected, holds
from workers.answers.screen import Screen
from workers.charging import charge_of
from workers.contest import contest_of
from workers.continuing import as_refusal, start_of
from workers.dialects.port import Decoded, Decoder, Partial, Target
from workers.endpoint import Endpoint
from workers.http import CallFailed, Reply
from workers.interrupting import Interrupted, Interrupting
from workers.preparing import Preparing
from workers.questions import Question
from workers.records import Ending, known_usage, partial_usage, placed
from workers.streaming import TokenStream
from workers.watch import Watch
from workers.wording import redirected, stopped_by_us

__all__ = ["Attempt"]

MAX_ERROR_BODY = 256 * 1024
"""Bytes read of an answer that only describes an error."""
ERROR_PATIENCE = 5.0
"""Seconds for the body of such an answer."""


class Attempt:
    """One assignment on its way to an ending."""

    __slots__ = (
        "_decoder", "_endpoint", "_error_body", "_expected", "_first_token", "_interrupting", "_preparing", "_started",
        "_started_wall", "_stream", "assignment", "called", "contest", "id", "outrun", "reply", "trace",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, assignment: Assignment, stir: Callable[[], None] = lambda: None) -> None:
        self.assignment = assignment
        self.id = assignment.attempt_id
        self.contest = contest_of(assignment, stir)
        self.outrun = False
        self.trace: Trace | None = None
        self.reply: Reply | None = None
        self._endpoint = endpoint
        self._started, self._started_wall = endpoint.clock.monotonic(), endpoint.clock.wall()
        self._interrupting = Interrupting(endpoint, assignment)
        self._preparing = Preparing(endpoint, assignment, self._interrupting)
        self.called = False
        self._first_token: float | None = None
        self._decoder: Decoder | None = None
        self._stream: TokenStream | Screen | None = None
        self._expected: Expected | None = None
        self._error_body = bytearray()

    def interrupt(self, kind: FailureKind) -> None:
        """Stop the attempt (``CANCELLED``, ``HANDED_BACK``): a running call is closed, a waiting one never starts.

        After the answer is complete it has no effect, nor has a second interrupt.
        """
        self._interrupting.interrupt(kind)

    @property
    def target(self) -> Target | None:
        """Who is asked; ``None`` as long as that is not known."""
        return self._preparing.target

    async def run(self, job: Job) -> Ending:
        """Make the attempt. Raises nothing but CancelledError; a bug becomes the failure ``INTERNAL``."""
        ending = await self._ended(job)
        if ending.failure is not None:  # to report it may take long, and the provider would go on for all that time
            await self.close()
        return ending

    async def _ended(self, job: Job) -> Ending:
        try:
            try:
                return await self._run(job)
            except CallFailed as broken:
                return self.failed(broken.failure)
            except Interrupted as stopped:
                how = {"called": self.called, "outrun": self.outrun}
                return self.failed(stopped_by_us(stopped.kind, self.assignment.timeouts, **how))
            except NotStarted as error:
                if self.called:
                    raise  # what is handed back does not count: each time would cost another answer
                return self.failed(self._unready(error))
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
        if self.called and failure.kind is FailureKind.CONTEXT_OVERFLOW and self._preparing.fitted is not None:
            self._endpoint.fitting.overflowed(self._preparing.fitted)
        limits: tuple[LimitReading, ...] = ()
        if self.reply is not None and self.target is not None:
            limits = self._endpoint.limits(self.target, self.reply)
        carries = self._preparing.carried is not None and not produced
        placed_failure = placed(as_refusal(failure) if carries else failure, self.assignment, produced=produced)
        return self._ending(failure=placed_failure, usage=usage, limits=limits, stated=_stated(partial, usage))

    def broken(self, error: Exception, made: Ending | None = None) -> Ending:
        """The ending for a bug of ours: its type and place are told, its text may hold content. ``made``: as it had
        ended before, and what that cost.
        """
        self._tell(error)
        words = f"the worker failed unexpectedly ({type(error).__name__})"
        failure = placed(Failure(kind=FailureKind.INTERNAL, message=words), self.assignment, produced=False)
        if made is not None:
            return made.failed(failure)
        partial: Partial | None = None
        with suppress(Exception):  # it may be the decoder that is broken
            partial = self._decoder.partial if self._decoder is not None else None
        usage = partial_usage(partial, self._prompt, self._unseen) if self.called else Usage()
        return self._ending(failure=failure, usage=usage, stated=_stated(partial, usage))

    async def close(self) -> None:
        """Give the connection back; that of an answer after its result is stored, by when its very end has come too.

        May be called twice.
        """
        if self.reply is not None:
            try:
                await self.reply.close()
            except Exception as error:  # noqa: BLE001 - whatever a transport does here, the attempt has ended
                self._endpoint.telemetry.emit("attempt.close_failed", ERROR, error=type(error).__name__)

    # -- the steps

    async def _run(self, job: Job) -> Ending:
        endpoint, assignment = self._endpoint, self.assignment
        self._interrupting.check()
        self._guard(job)
        if holds(job, assignment):
            self._expected = await self._interrupting.within(endpoint.answers.expected(job, assignment))
        question = await self._preparing.question(job)
        await self._interrupting.within(endpoint.smoothing.turn(assignment.grant.domain, assignment.model))
        try:
            self._interrupting.check()
        except Interrupted as stopped:
            if stopped.kind is FailureKind.GRANT_EXPIRED:
                self._preparing.keep(question)
            raise
        self._started, self._started_wall = endpoint.clock.monotonic(), endpoint.clock.wall()
        if self._expected is not None:
            self._expected.asked(question.encoded)
        decoded = await self._call(question)
        usage = known_usage(decoded, question.estimate)
        if self._preparing.fitted is not None:
            endpoint.fitting.learn(self._preparing.fitted, usage)
        if self._expected is not None:
            decoded = await self._interrupting.within(self._expected.judged(decoded), self._withdraw)
        self._preparing.losses += decoded.losses
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

    async def _call(self, question: Question) -> Decoded:
        watch = self._interrupting.over_call()
        try:
            return await self._interrupting.within(self._exchange(question, watch), self._withdraw)
        except (CallFailed, Interrupted):
            if self._interrupting.reason in (FailureKind.CANCELLED, FailureKind.HANDED_BACK):
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
        stream.start(*start_of(given, self._preparing.carried))
        return stream

    async def _show(self, stream: TokenStream | Screen, deltas: Sequence[Delta]) -> None:
        """The first tokens of an attempt that may be one of two. Raises Interrupted if the other one was faster."""
        if self.contest is not None and not await self.contest.show(stream, deltas):
            self.outrun, self._interrupting.reason = True, FailureKind.HANDED_BACK
            raise Interrupted(FailureKind.HANDED_BACK)

    def _withdraw(self) -> None:
        """The call was interrupted; if its request had not left, there was none."""
        self.called = self.called and not self._endpoint.upstream.withdraw(self.id)

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

    def _tell(self, error: Exception) -> None:
        where = place_of(error)
        self._endpoint.telemetry.emit("attempt.broken", ERROR, attempt=self.id, error=type(error).__name__, place=where)

    def _unready(self, error: NotStarted) -> Failure:
        """There is nobody to read the job's schema, which is the fault of this machine and of this moment."""
        self._tell(error)
        return Failure(kind=FailureKind.HANDED_BACK, message=str(error))

    # -- the ending

    @property
    def _prompt(self) -> int:
        """Tokens of what was asked, as well as can be known."""
        fitted = self._preparing.fitted
        known = fitted is not None and fitted.calibration is not None
        return fitted.estimate() if fitted is not None and known else self.assignment.grant.input_tokens

    @property
    def _unseen(self) -> int:
        """Tokens of an answer that comes in one piece, once the attempt is stopped while it is being made: what was
        expected of it, as nothing of it can be seen.
        """
        hidden = self._interrupting.reason is not None and self.target is not None and not self.target.stream
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
            losses=self._preparing.losses,
            limits=limits,
            continued=None if self._preparing.carried is None else self._preparing.carried.attempt,
            fits=self._expected is None or self._expected.fits,
        )


def _stated(partial: Partial | None, usage: Usage) -> Decimal | None:
    """The cost that the provider has told, if it is that of the whole answer."""
    return partial.cost if partial is not None and usage.reported and usage.total else None

"""The facade: everything a program does with Penstock, from one object."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from job_contracts.embeddings import Purpose
from job_contracts.trials import TakenFeedback
from producer_sdk.answers import Answered
from producer_sdk.batch import Item, Progress, mapped, when_there_is_room
from producer_sdk.border import answered, same_request
from producer_sdk.connecting import over_nats
from producer_sdk.embedding import BATCH, EmbeddingResult, embedded
from producer_sdk.errors import Closed, InvalidRequest
from producer_sdk.exchange import Exchange, Patience, checked_job
from producer_sdk.handle import JobHandle
from producer_sdk.letters import DeadLetters
from producer_sdk.options import Inputs, JobOptions, Messages, Options, Tools
from producer_sdk.parsing import asked_for, read_as
from producer_sdk.replies import Reader, Watch
from producer_sdk.request import Request
from producer_sdk.scoring import scored
from producer_sdk.streams import JobStream
from producer_sdk.tracing import current_trace
from producer_sdk.transport import Transport
from producer_sdk.writing import Writer

if TYPE_CHECKING:
    import ssl

    from job_contracts.desk import Estimate, Planned

T = TypeVar("T")

DEFAULT_URL = "nats://127.0.0.1:4222"
DEFAULT_TIMEOUT = 600.0


class Producer:
    """Submits jobs of one project and brings their answers home. One per program is enough, on one event loop.

    ``url`` and ``key`` default to the environment's ``PENSTOCK_URL`` and ``PENSTOCK_KEY``. A key is
    ``psk_<project>_<secret>``; without one the broker must be open, and ``project`` says for whom to speak.

    In seconds: ``timeout`` bounds every wait for an answer, ``submit_timeout`` the wait until a job is durable,
    ``connect_timeout`` that for the connection and ``desk_timeout`` that for a question to the gateway. With
    ``cancel_abandoned`` a job is cancelled when its ``complete`` is cancelled or its ``stream`` left early, unless it
    has an idempotency key, by which somebody may come back.
    ``window`` bounds the messages that are sent and not confirmed. ``trace`` says for each job which span it belongs
    to, as a ``traceparent``: the program's current one, if it traces by OpenTelemetry.

    It connects at ``async with``, or at the first call. Every method may raise Unreachable, Forbidden and Closed.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        project: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        connect_timeout: float = 5.0,
        submit_timeout: float = 30.0,
        desk_timeout: float = 5.0,
        cancel_abandoned: bool = True,
        window: int = 2_048,
        tls: ssl.SSLContext | None = None,
        name: str = "penstock-producer",
        clock: Callable[[], float] = time.time,
        trace: Callable[[], str | None] | None = current_trace,
        transport: Transport | None = None,
    ) -> None:
        self.timeout = timeout
        """Seconds a call waits for an answer unless it says otherwise; ``None`` waits for ever."""
        self._cancel_abandoned = cancel_abandoned
        self._clock = clock
        self._patience = Patience(connect=connect_timeout, submit=submit_timeout, desk=desk_timeout)
        self._stem = secrets.token_hex(8)
        self._writer = Writer(self._stem, clock, trace)
        if transport is None:
            # The SDK is configured by arguments; these two variables are the only ones it reads, and only if asked to.
            url = url if url is not None else os.environ.get("PENSTOCK_URL", DEFAULT_URL)  # noqa: TID251
            key = key if key is not None else os.environ.get("PENSTOCK_KEY")  # noqa: TID251
            transport = over_nats(url, key, project, tls=tls, name=name, window=window)
        self._transport = transport
        self._exchange: Exchange | None = None
        self._opening: asyncio.Future[Exchange] | None = None
        self._closed = False

    @property
    def project(self) -> str:
        """The project this producer speaks for."""
        return self._transport.project

    @property
    def dead(self) -> DeadLetters:
        """The project's dead letters: jobs that were set aside, to be looked at, replayed or discarded."""
        return DeadLetters(self)

    # -- life

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect. Jobs go on; whoever still waits for one here gets Closed. Safe to call twice."""
        self._closed = True
        if self._exchange is not None:
            await self._exchange.close()
        else:
            await self._transport.close()

    async def _ready(self) -> Exchange:
        if self._exchange is not None:
            return self._exchange
        if self._closed:
            raise Closed("the producer is closed", remedy="make a new one")
        opening = self._opening
        if opening is None or opening.done():
            opening = self._opening = asyncio.ensure_future(self._open())
            opening.add_done_callback(_heeded)
        return await asyncio.shield(opening)

    async def _open(self) -> Exchange:
        exchange = Exchange(self._transport, self._stem, self._patience, clock=self._clock)
        await exchange.open()
        self._exchange = exchange
        return exchange

    # -- jobs

    async def complete(
        self,
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Answered:
        """Submit a job and wait for its answer.

        ``model`` is a route of the gateway's configuration; ``options`` are generation settings and job options (see
        ``Options``). Raises InvalidRequest, Refused, JobFailed, or Timeout after ``timeout`` seconds (the producer's
        own if ``None``): then the job goes on, and ``attach(error.job)`` takes it up again.
        """
        request = self._writer.chat(model, messages, tools, options, stream=False)
        return await self._ended(request, self.timeout if timeout is None else timeout)

    def stream(
        self,
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> JobStream:
        """Submit a job and iterate over its events while they come; ``.result`` of the stream is the answer in the end.

        Raises InvalidRequest here; the job is submitted when the iteration begins. ``timeout`` bounds the whole stream.
        """
        request = self._writer.chat(model, messages, tools, options, stream=True)

        async def begin(reader: Reader) -> tuple[Exchange, Watch]:
            exchange = await self._ready()
            watch = exchange.watch(request)
            if not request.keyed:  # what has come of an earlier job is read from the store, from its start
                watch.readers.append(reader)
            try:
                await exchange.submit(request, watch)
            except BaseException as error:
                if reader in watch.readers:
                    watch.readers.remove(reader)
                if isinstance(error, asyncio.CancelledError):
                    self._abandon(exchange, watch, request)
                raise
            return exchange, watch

        patience = self.timeout if timeout is None else timeout
        return JobStream(
            begin,
            job=request.job,
            timeout=patience,
            owned=self._cancel_abandoned and not request.keyed,
            fresh=not request.keyed,
            body_hash=request.ticket.body_hash if request.keyed else None,
        )

    async def submit(
        self, *, model: str, messages: Messages, tools: Tools = (), stream: bool = False, **options: Unpack[Options]
    ) -> JobHandle:
        """Submit a job and return as soon as it is durable; from then on it ends in exactly one result.

        ``stream``: whether tokens are wanted while they come, for ``handle.stream()``. Raises InvalidRequest, Refused,
        Unreachable (``maybe_stored`` tells whether it may have been accepted).
        """
        return await self._submitted(self._writer.chat(model, messages, tools, options, stream=stream))

    async def embed(
        self,
        *,
        model: str,
        inputs: Inputs,
        dimensions: int | None = None,
        purpose: Purpose | None = None,
        batch_size: int = BATCH,
        timeout: float | None = None,
        **options: Unpack[JobOptions],
    ) -> EmbeddingResult:
        """Turn texts into vectors: ``result.vectors`` in the order of ``inputs`` (``result.data``: as base64).

        ``dimensions`` is the vectors' length, ``purpose`` what they are for; ``None`` leaves it to the model.
        Every ``batch_size`` inputs are a job, all submitted at once. What is given holds for the whole: one ``timeout``
        and one ``deadline``; ``max_cost`` is shared out by the length of the texts; of ``idempotency_key`` a key is
        made for each job, so the same call (with the same ``batch_size``) runs once.

        Raises what ``complete`` raises, for the first job that fails: ``error.inputs`` are the positions of its inputs,
        and the other jobs are called off, unless they have a key.
        """
        patience = self.timeout if timeout is None else timeout

        async def one(texts: Sequence[str], asked: Mapping[str, Any], left: float | None) -> Answered:
            # Each try is another job: one that was turned away has its end.
            return await when_there_is_room(
                lambda each: self._ended(self._writer.embedding(model, texts, each, dimensions, purpose), left),
                asked,
                left,
            )

        return await embedded(one, inputs, batch_size=batch_size, timeout=patience, options=options, now=self._clock())

    async def submit_embedding(
        self,
        *,
        model: str,
        inputs: Inputs,
        dimensions: int | None = None,
        purpose: Purpose | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle:
        """Submit one embedding job, of at most 2,048 inputs, and return as soon as it is durable.

        ``(await handle.result()).embeddings`` are its vectors. Providers take fewer inputs than a job may have in one
        call, some 96: a job with more than any deployment of its route takes fails.
        """
        return await self._submitted(self._writer.embedding(model, inputs, options, dimensions, purpose))

    async def estimate(
        self,
        *,
        model: str,
        messages: Messages | None = None,
        tools: Tools = (),
        inputs: Inputs | None = None,
        explain: bool = False,
        **options: Unpack[Options],
    ) -> Estimate:
        """What a job would cost now, in US dollars: ``expected``, and ``worst``, which would be reserved for it.

        Give ``messages`` for an answer or ``inputs`` for vectors. Nothing is submitted. ``None`` where no price is
        known; ``refused`` says why the job would not be accepted. With ``explain`` the ``decision`` says where it would
        go now, if nobody waited before it, and why not elsewhere. Raises InvalidRequest, Refused, Unreachable.
        """
        if (messages is None) == (inputs is None):
            remedy = "give one of the two"
            raise InvalidRequest("messages: a job has either messages or inputs", field="messages", remedy=remedy)
        if messages is not None:
            request = self._writer.chat(model, messages, tools, options, stream=False)
        else:
            request = self._writer.embedding(model, inputs or (), options, None, None)
        planned = request.planned
        return await self.simulate(planned.model_copy(update={"explain": True}) if explain else planned)

    async def simulate(self, planned: Planned) -> Estimate:
        """``estimate`` of a job that is known by its numbers alone."""
        exchange = await self._ready()
        exchange.check_usable()
        return await exchange.desk.estimating.of(planned)

    def attach(self, job: str) -> JobHandle:
        """Take up a job by its id, wherever it was submitted. Asks nothing yet: an unknown id shows at first use."""
        # What is known of it here is kept with the handle: with the token a cancel needs no answer of the desk.
        known = self._exchange.replies.watched(checked_job(job)) if self._exchange is not None else None
        return JobHandle(self, checked_job(job), known)

    async def feedback(self, job: str, score: float) -> TakenFeedback:
        """Say how good a job's answer was, from 0 to 1: experiments compare their arms by it. See ``scoring``."""
        return await scored((await self._ready()).desk, job, score)

    def awaits(self, job: str) -> bool:
        """Whether somebody waits for a job here, reads its stream, or is about to."""
        return self._exchange is not None and self._exchange.replies.awaited(job)

    async def parse(
        self,
        type_: type[T],
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        strict: bool | None = None,
        **options: Unpack[Options],
    ) -> T:
        """Ask for an answer of a type (a pydantic model, or anything pydantic can validate) and return it, validated.

        ``strict`` asks providers that can to hold the model to the schema. Raises InvalidAnswer with the text if the
        answer does not fit, and everything ``complete`` raises.
        """
        adapter, wanted = asked_for(type_, strict=strict)
        options["response_format"] = wanted
        answer = await self.complete(model=model, messages=messages, tools=tools, timeout=timeout, **options)
        return read_as(adapter, answer)

    def map(
        self,
        requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        concurrency: int = 64,
        ordered: bool = False,
        checkpoint: str | Path | None = None,
        max_cost: Decimal | float | str | None = None,
        progress: bool | Callable[[Progress], None] = False,
        timeout: float | None = None,
    ) -> AsyncGenerator[Item, None]:
        """Complete many requests, each a dict of ``complete``'s arguments; yields an ``Item`` for each, errors too.

        ``concurrency`` bounds the jobs under way; ``ordered`` keeps the order of the requests (else: as they end).
        ``checkpoint`` names a SQLite file: run again with the same file, what is finished is read from it and what was
        under way is taken up, nothing runs twice. ``max_cost`` bounds what this run costs, in US dollars: the
        worst case of each request is asked for and set aside before it is submitted, with more for further attempts
        while there is plenty, and its job may cost no more than that (one with an ``idempotency_key`` of its own and
        no checkpoint only what it says itself). Once the next one does not fit any more nothing more is submitted. The
        remaining items are ``left_out`` and carry BudgetExceeded; with a checkpoint a further run takes them up.
        ``progress``: a line on standard error, or a function.
        """
        return mapped(
            self,
            requests,
            concurrency=concurrency,
            ordered=ordered,
            checkpoint=checkpoint,
            max_cost=max_cost,
            progress=progress,
            timeout=timeout,
        )

    # -- inside

    async def _ended(self, request: Request, patience: float | None) -> Answered:
        """Submit it and wait for its answer; whoever stops waiting abandons it."""
        exchange = self._exchange or await self._ready()
        watch = exchange.watch(request)
        try:
            await exchange.submit(request, watch)
            result = await exchange.result(watch, patience)
        except asyncio.CancelledError:
            self._abandon(exchange, watch, request)
            raise
        if request.keyed:
            same_request(request.job, result.body_hash, request.ticket.body_hash)
        return answered(result)

    async def _submitted(self, request: Request) -> JobHandle:
        exchange = self._exchange or await self._ready()
        watch = exchange.watch(request)
        await exchange.submit(request, watch)
        return JobHandle(self, request.job, watch, body_hash=request.ticket.body_hash if request.keyed else None)

    def _abandon(self, exchange: Exchange, watch: Watch, request: Request) -> None:
        """Nobody waits any more; a key lets somebody come back, so a job that has one goes on."""
        if self._cancel_abandoned and not request.keyed:
            exchange.abandon(watch, "its producer stopped waiting")


def _heeded(opening: asyncio.Future[Exchange]) -> None:
    """Whoever waited for the connection may be gone when it fails: that is no error nobody looked at."""
    if not opening.cancelled():
        opening.exception()

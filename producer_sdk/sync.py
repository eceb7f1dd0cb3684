"""The same surface for programs without an event loop: blocking calls, from any thread, on a loop of their own."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from job_contracts.embeddings import Purpose
from job_contracts.trials import TakenFeedback
from producer_sdk.answers import Answered
from producer_sdk.batch import Item, Progress
from producer_sdk.embedding import BATCH, EmbeddingResult
from producer_sdk.errors import Closed
from producer_sdk.options import Inputs, JobOptions, Messages, Options, Tools
from producer_sdk.portal import Portal, iterated, made
from producer_sdk.producer import Producer
from producer_sdk.sync_handle import SyncJobHandle, SyncJobStream
from producer_sdk.sync_letters import SyncDeadLetters
from producer_sdk.tracing import current_trace

if TYPE_CHECKING:
    import ssl

    from job_contracts.desk import Estimate, Planned
    from producer_sdk.transport import Transport

T = TypeVar("T")


class SyncProducer:
    """``Producer``, blocking. Every argument and every error is the same; use it from as many threads as you like."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        project: str | None = None,
        timeout: float | None = 600.0,
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
        self._producer = Producer(
            url,
            key,
            project=project,
            timeout=timeout,
            connect_timeout=connect_timeout,
            submit_timeout=submit_timeout,
            desk_timeout=desk_timeout,
            cancel_abandoned=cancel_abandoned,
            window=window,
            tls=tls,
            name=name,
            clock=clock,
            trace=trace,
            transport=transport,
        )
        self._portal = Portal()
        self._finalizer = weakref.finalize(self, self._portal.close)

    @property
    def project(self) -> str:
        """The project this producer speaks for."""
        return self._producer.project

    @property
    def timeout(self) -> float | None:
        """Seconds a call waits for an answer unless it says otherwise."""
        return self._producer.timeout

    @property
    def dead(self) -> SyncDeadLetters:
        """See ``Producer.dead``."""
        return SyncDeadLetters(self._portal, self._producer.dead)

    def __enter__(self) -> Self:
        self._portal.call(self._producer.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect and end the thread. Jobs go on. Safe to call twice."""
        if self._finalizer.alive:
            try:
                self._portal.call(self._producer.close())
            except Closed:
                pass
            finally:
                self._finalizer()

    def complete(
        self,
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Answered:
        """See ``Producer.complete``. An interrupt while it waits cancels the job."""
        return self._portal.call(
            self._producer.complete(model=model, messages=messages, tools=tools, timeout=timeout, **options)
        )

    def stream(
        self,
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> SyncJobStream:
        """See ``Producer.stream``; a plain iterator."""
        return SyncJobStream(
            self._portal,
            lambda: self._producer.stream(model=model, messages=messages, tools=tools, timeout=timeout, **options),
        )

    def submit(
        self, *, model: str, messages: Messages, tools: Tools = (), stream: bool = False, **options: Unpack[Options]
    ) -> SyncJobHandle:
        """See ``Producer.submit``."""
        handle = self._portal.call(
            self._producer.submit(model=model, messages=messages, tools=tools, stream=stream, **options)
        )
        return SyncJobHandle(self._portal, handle)

    def embed(
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
        """See ``Producer.embed``. An interrupt while it waits cancels the jobs."""
        return self._portal.call(
            self._producer.embed(
                model=model,
                inputs=inputs,
                dimensions=dimensions,
                purpose=purpose,
                batch_size=batch_size,
                timeout=timeout,
                **options,
            )
        )

    def submit_embedding(
        self,
        *,
        model: str,
        inputs: Inputs,
        dimensions: int | None = None,
        purpose: Purpose | None = None,
        **options: Unpack[JobOptions],
    ) -> SyncJobHandle:
        """See ``Producer.submit_embedding``."""
        handle = self._portal.call(
            self._producer.submit_embedding(
                model=model, inputs=inputs, dimensions=dimensions, purpose=purpose, **options
            )
        )
        return SyncJobHandle(self._portal, handle)

    def estimate(
        self,
        *,
        model: str,
        messages: Messages | None = None,
        tools: Tools = (),
        inputs: Inputs | None = None,
        explain: bool = False,
        **options: Unpack[Options],
    ) -> Estimate:
        """See ``Producer.estimate``."""
        asked = self._producer.estimate(
            model=model, messages=messages, tools=tools, inputs=inputs, explain=explain, **options
        )
        return self._portal.call(asked)

    def simulate(self, planned: Planned) -> Estimate:
        """See ``Producer.simulate``."""
        return self._portal.call(self._producer.simulate(planned))

    def attach(self, job: str) -> SyncJobHandle:
        """See ``Producer.attach``."""
        return SyncJobHandle(self._portal, self._producer.attach(job))

    def feedback(self, job: str, score: float) -> TakenFeedback:
        """See ``Producer.feedback``."""
        return self._portal.call(self._producer.feedback(job, score))

    def awaits(self, job: str) -> bool:
        """See ``Producer.awaits``."""
        return self._producer.awaits(job)

    def parse(
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
        """See ``Producer.parse``."""
        return self._portal.call(
            self._producer.parse(
                type_, model=model, messages=messages, tools=tools, timeout=timeout, strict=strict, **options
            )
        )

    def map(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 64,
        ordered: bool = False,
        checkpoint: str | Path | None = None,
        max_cost: Decimal | float | str | None = None,
        progress: bool | Callable[[Progress], None] = False,
        timeout: float | None = None,
    ) -> Generator[Item, None, None]:
        """See ``Producer.map``; ``requests`` are drawn, and ``progress`` is called, on the producer's own thread."""
        items = self._portal.call(
            made(
                lambda: self._producer.map(
                    requests,
                    concurrency=concurrency,
                    ordered=ordered,
                    checkpoint=checkpoint,
                    max_cost=max_cost,
                    progress=progress,
                    timeout=timeout,
                )
            )
        )
        return iterated(self._portal, items)

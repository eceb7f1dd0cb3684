"""A job belongs to the span that its program is in, if there is one, or to the one that is named."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from opentelemetry.sdk.trace import TracerProvider

from job_contracts.subjects import H_TRACE
from job_contracts.tracing import read_trace
from producer_sdk import Producer
from producer_sdk.sync import SyncProducer
from producer_sdk.testing import FakeGateway
from producer_sdk.testing.gateway import MemoryTransport
from producer_sdk.tracing import current_trace

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Watching(MemoryTransport):
    """Remembers the traces of what is stored."""

    def __init__(self, gateway: FakeGateway) -> None:
        super().__init__(gateway, gateway.project)
        gateway._transports.append(self)
        self.traces: list[str | None] = []

    async def store(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, timeout: float
    ) -> bool:
        self.traces.append((headers or {}).get(H_TRACE))
        return await super().store(subject, data, headers, timeout=timeout)


@pytest.fixture
def transport() -> Watching:
    return Watching(FakeGateway())


async def test_a_job_belongs_to_the_span_that_its_program_is_in(transport: Watching) -> None:
    tracer = TracerProvider().get_tracer("program")
    async with Producer(transport=transport) as producer:
        await producer.complete(model="fast", messages="x")
        with tracer.start_as_current_span("asking") as span:
            await producer.complete(model="fast", messages="x")
            await producer.complete(model="fast", messages="x", trace=GIVEN)
            async for _ in producer.stream(model="fast", messages="x"):
                pass
            await producer.embed(model="fast", inputs=["x"])
        place = span.get_span_context()
    current = f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"
    assert transport.traces == [None, current, GIVEN, current, current]


async def test_a_producer_may_be_told_otherwise(transport: Watching) -> None:
    async with Producer(transport=transport, trace=lambda: GIVEN) as producer:
        await producer.complete(model="fast", messages="x")
    async with Producer(transport=Watching(FakeGateway()), trace=None) as producer:
        with TracerProvider().get_tracer("program").start_as_current_span("asking"):
            await producer.complete(model="fast", messages="x")
    assert transport.traces == [GIVEN]


def test_a_program_without_a_loop_is_in_its_span_as_well(transport: Watching) -> None:
    tracer = TracerProvider().get_tracer("program")
    with SyncProducer(transport=transport) as producer, tracer.start_as_current_span("asking"):
        told = current_trace()
        producer.complete(model="fast", messages="x")
    assert read_trace(told) is not None
    assert transport.traces == [told]

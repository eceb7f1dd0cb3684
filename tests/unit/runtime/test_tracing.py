"""What is observed becomes spans: by every version of the conventions, as the golden files say."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from catalogue.load import providers
from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.tracing import Trace, of_request
from runtime.settings.telemetry import Traces
from runtime.telemetry import Event, Telemetry
from runtime.tracing.conventions import VERSIONS, attempt_attributes
from runtime.tracing.exporter import Exporter
from runtime.tracing.exporting import Sending, conventions, sending
from runtime.tracing.observations import ATTEMPT, JOB, REQUEST, AttemptSeen, JobSeen, RequestSeen
from tests.support.eventually import eventually

GOLDEN = Path(__file__).parent / "golden"
ID = "4bf92f3577b34da6a3ce929d0e0e4736"
JOB_SPAN = "1111111111111111"


def attempt(**over: Any) -> AttemptSeen:
    fields: dict[str, Any] = {
        "span": Trace(ID, "2222222222222222", sampled=True),
        "job_span": JOB_SPAN,
        "project": "demo",
        "job": "a-1",
        "attempt": 1,
        "route": "fast",
        "deployment": "eu-claude/claude-x",
        "model": "claude-x",
        "vendor": "bedrock",
        "worker": "w1",
        "server": ("bedrock.example.com", 443),
        "started": 1_700_000_000.25,
        "seconds": 1.5,
        "waited": 0.75,
        "streamed": True,
        "first_token": 0.5,
        "usage": Usage(input=100, output=50, cache_read=40, cache_write=10, reasoning=20),
        "cost": Decimal("0.0012"),
        "finish": "stop",
        "answered_by": "claude-x-2026",
        "stored": "ours",
    }
    return AttemptSeen(**{**fields, **over})


SEEN: dict[str, AttemptSeen] = {
    "answered": attempt(),
    "embedded": attempt(
        operation="embeddings", streamed=False, first_token=None, finish=None, usage=Usage(input=7), vendor="openai"
    ),
    "failed": attempt(
        span=Trace(ID, "3333333333333333", sampled=True),
        attempt=2,
        failure=FailureKind.RATE_LIMIT,
        usage=Usage(),
        cost=Decimal(0),
        first_token=None,
        finish=None,
        answered_by=None,
        waited=None,
        switched_from="a/b",
        switch_reason="overloaded",
        hedge=True,
        continued=1,
        follow_up="shadow",
        vendor="moonshot",
        server=None,
    ),
}
WHOLE = JobSeen(
    span=Trace(ID, JOB_SPAN, sampled=True),
    parent="4444444444444444",
    project="demo",
    job="a-1",
    state=JobState.SUCCEEDED,
    submitted=1_700_000_000.0,
    finished=1_700_000_002.0,
    attempts=2,
    deployment="eu-claude/claude-x",
    stream="SUBMIT_0",
)


class Stuck:
    """Never done with sending, until it may."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def shutdown(self) -> None:
        self.go.wait(10)


class Collector:
    """Takes what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def exported(version: str, *seen: AttemptSeen | JobSeen | RequestSeen) -> list[dict[str, Any]]:
    memory, telemetry = InMemorySpanExporter(), Telemetry()
    stop = Exporter(SimpleSpanProcessor(memory), process="test", version="0", conventions=version).listen(telemetry)
    for each in seen:
        event = {AttemptSeen: ATTEMPT, JobSeen: JOB, RequestSeen: REQUEST}[type(each)]
        telemetry.emit(event, observation=each)
    stop()
    telemetry.emit(JOB, observation=WHOLE)  # nobody listens any more
    return [_plain(json.loads(span.to_json())) for span in memory.get_finished_spans()]


def _plain(span: dict[str, Any]) -> dict[str, Any]:
    """What is ours of a span; the rest is the library's way to print it."""
    kept = ("name", "kind", "parent_id", "start_time", "end_time", "status", "attributes")
    ids = {"trace": span["context"]["trace_id"], "span": span["context"]["span_id"]}
    return {**ids, **{name: span[name] for name in kept}}


@pytest.mark.parametrize("version", VERSIONS)
def test_spans_are_what_the_golden_file_of_the_version_says(version: str) -> None:
    golden = GOLDEN / f"spans-{version}.json"
    assert exported(version, WHOLE, *SEEN.values()) == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_span_speaks_the_words_of_its_version_and_ours_and_no_others(version: str) -> None:
    newer = {
        "gen_ai.request.stream",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.reasoning.output_tokens",
    }
    allowed = {
        "1.37": set(),
        "1.41": {*newer, "gen_ai.usage.cache_creation.input_tokens"},
        "genai-latest": {*newer, "gen_ai.usage.cache_write.input_tokens"},
    }[version]
    plain = {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
    }
    told = [attempt_attributes(seen, version) for seen in SEEN.values()]
    assert {name for found in told for name in found if name.startswith("gen_ai.")} == allowed | plain


@pytest.mark.parametrize(("status", "wrong"), [(200, None), (429, None), (503, "503"), (None, "gone")])
def test_a_request_is_told_by_the_http_conventions_below_its_clients_span(
    status: int | None, wrong: str | None
) -> None:
    trace = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True, state="a=1")
    seen = RequestSeen(
        span=of_request(trace, "req_1"),
        parent=trace.span,
        request="req_1",
        project="demo",
        method="POST",
        route="/v1/chat/completions",
        status=status,
        started=100.0,
        finished=101.5,
    )
    memory, telemetry = InMemorySpanExporter(), Telemetry()
    Exporter(SimpleSpanProcessor(memory), process="gateway", version="0", conventions="1.37").listen(telemetry)
    telemetry.emit(REQUEST, observation=seen)
    (span,) = memory.get_finished_spans()
    assert (span.name, span.kind.name) == ("POST /v1/chat/completions", "SERVER")
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == trace.span
    assert span.context.trace_state.to_header() == "a=1"
    assert span.attributes is not None
    assert dict(span.attributes).get("http.response.status_code") == status
    assert (span.start_time, span.end_time) == (100_000_000_000, 101_500_000_000)
    assert span.status.description == wrong


def test_a_failed_call_tells_of_no_tokens_and_why() -> None:
    found = attempt_attributes(SEEN["failed"], "1.37")
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (0, 0)
    assert found["error.type"] == "rate_limit"


def test_a_model_name_that_is_a_strangers_text_stays_out() -> None:
    found = attempt_attributes(attempt(answered_by="you asked: what is my password?"), "genai-latest")
    assert "gen_ai.response.model" not in found


def test_every_provider_of_the_catalogue_has_a_name_that_an_attribute_may_have() -> None:
    for name in providers(None):
        for version in VERSIONS:
            told = attempt_attributes(attempt(vendor=name), version)["gen_ai.provider.name"]
            assert re.fullmatch(r"[a-z0-9_.-]+", str(told))


def test_the_configuration_decides_about_the_conventions_and_else_opentelemetrys_switch() -> None:
    assert conventions(Traces(), "") == "1.37"
    assert conventions(Traces(), "messaging, gen_ai_latest_experimental") == "genai-latest"
    assert conventions(Traces(conventions="1.41"), "gen_ai_latest_experimental") == "1.41"


async def test_without_traces_in_the_configuration_nobody_listens() -> None:
    telemetry, heard = Telemetry(), list[Event]()
    telemetry.subscribe(heard.append)
    nothing = sending(None, telemetry, process="test", version="0")
    await nothing.start()
    await nothing.stop()
    await nothing.stop()
    assert heard == []


async def test_spans_reach_a_collector_and_what_is_left_is_sent_at_the_end(collector: Collector) -> None:
    telemetry = Telemetry()
    settings = Traces(endpoint=collector.url, ratio=1.0)
    told = sending(settings, telemetry, process="test", version="0")
    await told.start()
    telemetry.emit(ATTEMPT, observation=attempt())
    await told.stop()
    await told.stop()
    await eventually(lambda: collector.bodies, says="no span came")
    assert b"claude-x" in b"".join(collector.bodies)


async def test_a_collector_that_is_away_keeps_no_process_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.tracing.exporting.END", 0.05)
    telemetry, heard = Telemetry(), list[Event]()
    telemetry.subscribe(heard.append)
    stuck = Stuck()
    ending = Sending(telemetry, stuck, lambda: None)
    await ending.stop()
    stuck.go.set()
    assert [event.name for event in heard] == ["traces.left_behind"]

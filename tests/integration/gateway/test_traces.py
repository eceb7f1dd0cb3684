"""What a client says of its trace goes with its job, at every API, and stands in the log; rubbish is no error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from catalogue.load import providers
from job_contracts import subjects
from job_contracts.tracing import read_trace
from runtime.bus.port import Message, Tail
from runtime.telemetry import DEBUG, Telemetry, write_logs
from runtime.tracing.observations import JOB, REQUEST, JobSeen, RequestSeen
from tests.integration.gateway.test_costs import CHAT, TURNS, values
from tests.support.edge import edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.upstream import completion, response, upstream

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ID, SPAN = GIVEN[3:35], GIVEN[36:52]


async def test_a_clients_trace_goes_with_its_jobs(tmp_path: Path) -> None:
    lines: list[str] = []
    jobs: list[JobSeen] = []
    inner, outer = Telemetry(), Telemetry()
    write_logs(outer, "gateway", lines.append, lowest=DEBUG)
    inner.on(JOB, lambda fields: jobs.append(fields["observation"]))
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers(), telemetry=inner) as whole,
        edge(whole, telemetry=outer) as one,
    ):
        told: list[str | None] = []

        def hear(message: Message) -> None:
            told.append((message.headers or {}).get(subjects.H_TRACE))

        tail = await whole.bus.tail(subjects.stream_name(subjects.SUBMIT), hear, subjects=(f"{subjects.PREFIX}.q.>",))
        for header in ({"traceparent": GIVEN}, {"traceparent": "no trace"}, {}):
            answer = await one.client.post("/v1/chat/completions", json=CHAT, headers=header)
            assert answer.status_code == 200, answer.text
        message = {"model": "chat", "max_tokens": 10, "messages": TURNS}
        answer = await one.client.post("/v1/messages", json=message, headers={"traceparent": GIVEN})
        assert answer.status_code == 200, answer.text
        await one.client.post("/v1/chat/completions", json={**CHAT, "model": "nothing"}, headers={"traceparent": GIVEN})
        await eventually(lambda: len(jobs) == 2 and len(told) == 4, says="the jobs' ends were not told")
        await tail.close()
    assert told == [GIVEN, None, None, GIVEN]
    assert read_trace(GIVEN) is not None
    assert {(seen.span.id, seen.parent) for seen in jobs} == {(ID, SPAN)}
    named = [line.get("trace_id") for line in map(json.loads, lines) if line["event"].startswith("edge.")]
    assert ID in named, lines
    assert None in named, lines


async def heard(whole: Gateway) -> tuple[Tail, list[Mapping[str, str]]]:
    """The headers of all jobs that are submitted meanwhile."""
    told: list[Mapping[str, str]] = []
    wanted = (f"{subjects.PREFIX}.q.>",)
    return await whole.bus.tail(
        subjects.stream_name(subjects.SUBMIT), lambda message: told.append(message.headers or {}), subjects=wanted
    ), told


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_an_edge_that_traces_has_a_span_between_its_client_and_the_jobs(tmp_path: Path, ratio: float) -> None:
    jobs: list[JobSeen] = []
    requests: list[RequestSeen] = []
    inner, outer = Telemetry(), Telemetry()
    inner.on(JOB, lambda fields: jobs.append(fields["observation"]))
    outer.on(REQUEST, lambda fields: requests.append(fields["observation"]))
    async with upstream([response(completion("Hello!"))]) as provider:
        made = {**values(provider.url), "telemetry": {"traces": {"ratio": ratio}}}
        async with gateway(tmp_path, made, providers(), telemetry=inner) as whole, edge(whole, telemetry=outer) as one:
            tail, told = await heard(whole)
            client = one.client
            headers = {"traceparent": GIVEN, "tracestate": "vendor=1"}
            await client.post("/v1/chat/completions", json={**CHAT, "n": 2}, headers=headers)
            await client.post("/v1/chat/completions", json=CHAT, headers={"traceparent": f"{GIVEN[:-1]}0"})
            await client.post("/v1/chat/completions", json={**CHAT, "model": "nothing"}, headers=headers)
            await client.post("/v1/chat/completions", json=CHAT)
            await client.get("/v1/models", headers=headers)
            recorded = 2 + int(ratio)
            await eventually(lambda: len(jobs) == recorded and len(told) == 4, says=lambda: f"{jobs} {told}")
            await tail.close()
    first, refused, *begun = requests
    assert (first.span.id, first.parent, first.status, first.route) == (ID, SPAN, 200, "/v1/chat/completions")
    assert first.finished >= first.started
    assert (refused.parent, refused.status) == (SPAN, 404)
    assert [each.get("traceparent") for each in told[:3]] == [first.span.header] * 2 + [f"{GIVEN[:-1]}0"]
    assert [each.get("tracestate") for each in told[:3]] == ["vendor=1", "vendor=1", None]
    assert {(seen.parent, seen.span.state) for seen in jobs[:2]} == {(first.span.span, "vendor=1")}
    if not ratio:
        assert begun == []
        assert "traceparent" not in told[3]
        return
    (own,) = begun
    assert own.parent == ""
    assert (told[3]["traceparent"], jobs[2].parent) == (own.span.header, own.span.span)


async def test_what_an_edge_does_not_record_nobody_records(tmp_path: Path) -> None:
    requests: list[RequestSeen] = []
    outer = Telemetry()
    outer.on(REQUEST, lambda fields: requests.append(fields["observation"]))
    async with upstream([response(completion("Hello!"))]) as provider:
        made = {**values(provider.url), "telemetry": {"traces": {"ratio": 1e-18}}}
        async with gateway(tmp_path, made, providers()) as whole, edge(whole, telemetry=outer) as one:
            tail, told = await heard(whole)
            await one.client.post("/v1/chat/completions", json=CHAT)
            await eventually(lambda: len(told) == 1)
            await tail.close()
    assert requests == []
    assert told[0]["traceparent"].endswith("-00")

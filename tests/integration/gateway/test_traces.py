"""What a client says of its trace goes with its job, at every API, and stands in the log; rubbish is no error."""

from __future__ import annotations

import json
from pathlib import Path

from catalogue.load import providers
from job_contracts import subjects
from job_contracts.tracing import read_trace
from runtime.bus.port import Message
from runtime.telemetry import DEBUG, Telemetry, write_logs
from runtime.tracing.observations import JOB, JobSeen
from tests.integration.gateway.test_costs import CHAT, TURNS, values
from tests.support.edge import edge
from tests.support.eventually import eventually
from tests.support.gateway import gateway
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

"""Batches as the official client drives them: every input line has exactly one output line, whatever becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import openai
import pytest

from gateway.bodies.openai_batches import WINDOWS
from job_contracts import subjects
from tests.support.batches import begun, client, completed, each_once, ended, house, jsonl, output, request
from tests.support.eventually import eventually
from tests.support.stand_in import OTHER, key


async def test_every_request_of_a_batch_has_its_answer_under_its_own_id(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        batch = await begun(at.client, (request(n) for n in range(50)), metadata={"team": "search"})
        assert (batch.status, batch.metadata, batch.completion_window) == ("validating", {"team": "search"}, "24h")
        done = await ended(at.client, batch.id)
        answers, errors = await output(at.client, done)
        each_once(answers, 50)
        assert (done.status, errors, done.error_file_id) == ("completed", [], None)
        assert done.request_counts.model_dump() == {"total": 50, "completed": 50, "failed": 0}
        assert done.in_progress_at
        assert done.finalizing_at
        assert done.completed_at
        first = next(line for line in answers if line["custom_id"] == "request-7")
        assert first["error"] is None
        assert first["response"]["status_code"] == 200
        assert first["response"]["body"]["choices"][0]["message"]["content"]
        assert first["response"]["body"]["id"] == f"chatcmpl-{first['response']['request_id']}"
        assert at.calls() == 50
        listed = [one.id async for one in at.client.files.list(purpose="batch_output")]
        assert listed == [done.output_file_id]
        found = await at.client.files.retrieve(done.output_file_id)
        assert found.bytes == len((await at.client.files.content(done.output_file_id)).content)
        assert await lines_left(at.edge.bus) == 0


async def lines_left(bus: object) -> int:
    async def none() -> bool:
        found = await bus.stream_state(subjects.BATCHES, subjects=subjects.batch_line("*", "*", "*"))  # type: ignore[attr-defined]
        return not found.subjects

    await eventually(none, within=10.0)
    return 0


async def test_errors_have_lines_of_their_own_and_the_file_of_errors(tmp_path: Path) -> None:
    lines = [
        request(0),
        request(1, "broken"),
        request(2, "nowhere"),
        {**request(3), "body": {"model": "fast", "messages": [], "frobnicate": 1}},
        {**request(4), "body": {**request(4)["body"], "n": 2}},
        {**request(5), "body": {**request(5)["body"], "stream": True}},
    ]
    async with house(tmp_path) as at:
        done = await ended(at.client, (await begun(at.client, lines)).id)
        answers, errors = await output(at.client, done)
        each_once([*answers, *errors], 6)
        assert done.status == "completed"
        assert (done.request_counts.completed, done.request_counts.failed) == (2, 4)
        statuses = {line["custom_id"]: line["response"]["status_code"] for line in errors}
        assert statuses == {"request-1": 400, "request-2": 404, "request-3": 400, "request-5": 400}
        (unknown,) = [line for line in errors if line["custom_id"] == "request-2"]
        assert unknown["response"]["body"]["error"]["code"] == "model_not_found"
        (two,) = [line for line in answers if line["custom_id"] == "request-4"]
        assert len(two["response"]["body"]["choices"]) == 2


async def test_a_batch_may_be_of_any_api_whose_requests_are_jobs(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
    bodies: dict[str, list[dict[str, Any]]] = {
        "/v1/responses": [{"model": "fast", "input": "Hello"}, {"model": "fast", "input": "x", "background": True}],
        "/v1/messages": [{"model": "fast", "max_tokens": 50, "messages": said}, {"model": "nowhere", "messages": said}],
        "/v1/embeddings": [
            {"model": "vectors", "input": [f"text {n}" for n in range(200)]},
            {"model": "vectors", "input": []},
        ],
    }
    async with house(tmp_path) as at:
        for url, (good, bad) in bodies.items():
            lines = [request(0, url=url, body=good), request(1, url=url, body=bad)]
            done = await ended(at.client, (await begun(at.client, lines, endpoint=url)).id)
            (answer,), (error,) = await output(at.client, done)
            body, refused = answer["response"]["body"], error["response"]["body"]
            assert error["response"]["status_code"] == 400
            match url:
                case "/v1/responses":
                    assert (body["object"], body["status"]) == ("response", "completed")
                    assert refused["error"]["param"] == "background"
                case "/v1/messages":
                    assert (body["type"], body["role"]) == ("message", "assistant")
                    assert (refused["type"], refused["error"]["type"]) == ("error", "invalid_request_error")
                case _:
                    assert [one["index"] for one in body["data"]] == list(range(200))
                    assert refused["error"]["param"] == "input"


async def test_a_file_that_is_no_batch_fails_with_the_lines_that_are_wrong(tmp_path: Path) -> None:
    lines = [request(0), "{broken", request(0), "", request(1, url="/v1/other"), {"custom_id": "x"}]
    async with house(tmp_path) as at:
        failed = await ended(at.client, (await begun(at.client, lines)).id)
        assert (failed.status, failed.output_file_id, failed.error_file_id) == ("failed", None, None)
        assert failed.failed_at
        told = [(error.line, error.code) for error in failed.errors.data]
        assert told == [
            (2, "invalid_json_line"),
            (3, "duplicate_custom_id"),
            (5, "invalid_url"),
            (6, "missing_required_parameter"),
        ]
        empty = await ended(at.client, (await begun(at.client, [])).id)
        assert [error.code for error in empty.errors.data] == ["empty_file"]
        assert at.calls() == 0


async def test_results_can_be_read_and_resumed_while_the_batch_runs(tmp_path: Path) -> None:
    lines = [*(request(n) for n in range(30)), *(request(n, "slow") for n in range(30, 60)), request(60, "stuck")]
    async with house(tmp_path) as at:
        batch = await begun(at.client, lines)
        assert batch.output_file_id
        empty = await at.client.files.content(batch.output_file_id)
        assert empty.text == "" or empty.text.endswith("\n")

        async def some() -> bytes:
            return (await at.client.files.content(batch.output_file_id)).content

        first = await eventually(some, within=20.0, says="nothing to read yet")
        assert first.endswith(b"\n")

        async def sixty() -> bool:
            return completed(await at.client.batches.retrieve(batch.id)) == 60

        await eventually(sixty, within=20.0)
        assert (await at.client.batches.retrieve(batch.id)).status == "in_progress"
        path = f"/v1/files/{batch.output_file_id}/content"
        rest = await at.edge.client.get(path, headers={"range": f"bytes={len(first)}-"})
        together = first + rest.content
        assert rest.status_code == 206
        assert rest.headers["content-range"] == f"bytes {len(first)}-{len(together) - 1}/{len(together)}"
        each_once([json.loads(line) for line in together.splitlines()], 60)
        beyond = await at.edge.client.get(path, headers={"range": f"bytes={len(together)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(together)}")

        await at.client.batches.cancel(batch.id)
        done = await ended(at.client, batch.id)
        assert await some() == together, "the file of a batch that has ended begins as it did while it ran"
        answers, errors = await output(at.client, done)
        each_once([*answers, *errors], 61)
        middle = await at.edge.client.get(path, headers={"range": "bytes=100-199"})
        assert middle.content == together[100:200]


async def test_a_cancelled_batch_keeps_its_answers_and_calls_nothing_more(tmp_path: Path) -> None:
    count = 200
    async with house(tmp_path, batches={"beat": 0.2, "silence": 1.0, "in_flight": 20}) as at:
        batch = await begun(at.client, (request(n, "slow" if n < 20 else "stuck") for n in range(count)))

        async def answered() -> bool:
            return completed(await at.client.batches.retrieve(batch.id)) == 20

        await eventually(answered, within=20.0)

        async def submitted() -> bool:
            return (await at.edge.bus.stream_state("SUBMIT_0")).messages == 20

        await eventually(submitted, within=10.0, says="the next ones are not under way")
        assert (await at.client.batches.cancel(batch.id)).status == "cancelling"
        done = await ended(at.client, batch.id)
        assert done.status == "cancelled"
        assert done.cancelled_at
        answers, errors = await output(at.client, done)
        each_once([*answers, *errors], count)
        assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
        assert (len(answers), done.request_counts.completed, done.request_counts.failed) == (20, 20, 180)
        await at.whole.settled()
        assert at.calls() <= 40
        with pytest.raises(openai.ConflictError):
            await at.client.batches.cancel(batch.id)


async def test_what_is_not_answered_within_the_window_has_a_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast("dict[str, float]", WINDOWS), "1h", 3.0)
    async with house(tmp_path, batches={"beat": 0.2, "silence": 1.0, "in_flight": 4}) as at:
        batch = await begun(at.client, [request(0), *(request(n, "stuck") for n in range(1, 12))], window="1h")
        done = await ended(at.client, batch.id)
        answers, errors = await output(at.client, done)
        each_once([*answers, *errors], 12)
        assert (done.status, len(answers)) == ("expired", 1)
        assert {line["error"]["code"] for line in errors} == {"batch_expired"}
        assert at.calls() <= 1 + 4


async def test_answers_and_requests_larger_than_a_message_arrive_whole(tmp_path: Path) -> None:
    long = "word " * 300_000
    async with house(tmp_path) as at:
        batch = await begun(at.client, [request(0, text=long), request(1)], metadata=None)
        done = await ended(at.client, batch.id)
        answers, errors = await output(at.client, done)
        each_once([*answers, *errors], 2)


async def test_another_project_sees_nothing_of_a_batch_or_its_files(tmp_path: Path) -> None:
    async with house(tmp_path) as at, client(at.edge) as other:
        other.api_key = key(OTHER)
        batch = await begun(at.client, [request(0)])
        done = await ended(at.client, batch.id)
        for attempt in (
            other.batches.retrieve(batch.id),
            other.batches.cancel(batch.id),
            other.files.retrieve(done.output_file_id),
            other.files.content(done.input_file_id),
            other.files.delete(done.input_file_id),
        ):
            with pytest.raises(openai.NotFoundError):
                await attempt
        with pytest.raises(openai.BadRequestError):
            await other.batches.create(
                input_file_id=done.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert [one.id async for one in other.batches.list()] == []
        assert [one.id async for one in other.files.list()] == []


async def test_what_cannot_be_a_batch_is_refused_with_the_field(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        file = await at.client.files.create(file=("x.jsonl", jsonl([request(0)])), purpose="batch")
        other = await at.client.files.create(file=("x.txt", b"text"), purpose="user_data")
        good = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        for wrong, param in (
            ({"input_file_id": other.id}, "input_file_id"),
            ({"input_file_id": "file-none"}, "input_file_id"),
            ({"endpoint": "/v1/moderations"}, "endpoint"),
            ({"completion_window": "2h"}, "completion_window"),
            ({"metadata": {"x": 1}}, "metadata.x"),
            ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after.seconds"),
            ({"surprise": 1}, "surprise"),
        ):
            said = await at.edge.client.post("/v1/batches", json={**good, **wrong})
            assert (said.status_code, said.json()["error"]["param"]) == (400, param)
        missing = await at.edge.client.get("/v1/batches/batch_nothing")
        assert missing.status_code == 404


async def test_a_list_of_batches_is_cut_into_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        made = [(await begun(at.client, [request(n)])).id for n in range(5)]
        page = await at.client.batches.list(limit=2)
        assert [one.id for one in page.data] == [made[4], made[3]]
        assert page.has_more
        assert [one.id async for one in at.client.batches.list(limit=2)] == list(reversed(made))
        for one in made:
            await ended(at.client, one)

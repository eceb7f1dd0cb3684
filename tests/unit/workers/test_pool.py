"""A whole worker on a memory bus in front of a scripted server: what becomes of each assignment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from job_contracts.attempts import Adaptation, Timeouts
from job_contracts.chat import FinishReason
from job_contracts.codec import encode
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.stream import EndDelta, StartDelta, TextDelta
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.upstream import Do, Upstream, chunk, completion, error, event, head, response, stream, upstream
from tests.support.worker import Bench, bench


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


# -- success


async def test_a_plain_job_ends_in_one_result_a_fact_and_an_acknowledgement(worker: Bench, provider: Upstream) -> None:
    given = await worker.hand(worker.assignment(job=builders.job("stem-1", tags={"team": "blue"}, replay_of="stem-0")))
    result = await worker.result(given)
    assert (result.state, result.finish_reason, result.finish_raw) == (JobState.SUCCEEDED, FinishReason.STOP, "stop")
    assert result.answer is not None
    assert result.answer.text == "Hello!"
    assert (result.usage.input, result.usage.output, result.usage.reported) == (10, 3, True)
    assert (result.provider, result.deployment, result.model) == ("alpha", "alpha/m", "m-1")
    assert (result.token, result.body_hash, result.route) == (given.token, given.body_hash, given.route)
    assert result.tags == {"team": "blue"}
    assert result.replay_of == "stem-0"
    assert [record.number for record in result.attempts] == [1]
    assert result.times.dispatched == given.grant.granted
    settlement = worker.settlements()["stem-1"]
    assert (settlement.state, settlement.attempt, settlement.usage) == (JobState.SUCCEEDED, 1, result.usage)
    fact = worker.facts()["default.stem-1.1"]
    assert (fact.won, fact.reason, fact.usage, fact.tags) == (True, "user", result.usage, {"team": "blue"})
    assert worker.outcomes() == {}
    assert worker.work_left() == 0


async def test_a_plain_job_is_asked_for_whole_and_publishes_no_tokens(worker: Bench, provider: Upstream) -> None:
    given = await worker.hand(worker.assignment())
    await worker.result(given)
    assert not provider.asked[0].json.get("stream")
    assert worker.chunks(given) == []


async def test_a_request_carries_the_credential_the_attempts_id_and_asks_for_no_compression(
    worker: Bench, provider: Upstream
) -> None:
    given = await worker.hand(worker.assignment())
    await worker.result(given)
    asked = provider.asked[0]
    assert asked.header("authorization") == "Bearer sk-alpha"
    assert asked.header("x-penstock-attempt") == given.attempt_id
    assert asked.header("accept-encoding") == "identity"
    assert asked.line == "POST /chat/completions HTTP/1.1"


async def test_connections_are_used_again(worker: Bench, provider: Upstream) -> None:
    for _ in range(5):
        await worker.result(await worker.hand(worker.assignment()))
    assert provider.connections == 1


async def test_the_history_of_earlier_attempts_is_repeated_in_the_result(worker: Bench) -> None:
    earlier = builders.record(1, deployment="beta/m")
    result = await worker.result(await worker.hand(worker.assignment(attempt=2, history=(earlier,))))
    assert [record.deployment for record in result.attempts] == ["beta/m", "alpha/m"]


async def test_a_routes_rule_changes_the_instructions_and_the_record_says_so(worker: Bench, provider: Upstream) -> None:
    given = worker.assignment(adaptation=Adaptation(system_append="Be brief."))
    result = await worker.result(await worker.hand(given))
    assert provider.asked[0].json["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [loss.kind for loss in result.attempts[0].losses] == ["rewritten"]


async def test_an_answer_without_usage_is_estimated_and_says_so(worker: Bench, provider: Upstream) -> None:
    provider.play([response({**completion("x" * 400), "usage": None})])
    result = await worker.result(await worker.hand(worker.assignment()))
    assert not result.usage.reported
    assert result.usage.input > 0
    assert result.usage.output >= 80


async def test_a_result_too_large_for_a_message_goes_to_a_blob(worker: Bench, provider: Upstream) -> None:
    text = "word " * 300_000
    provider.play([response(completion(text))])
    given = await worker.hand(worker.assignment())
    pointer = await worker.result(given)
    assert pointer.answer is None
    assert pointer.blob is not None
    whole = await worker.mine.get_blob(f"{given.project}.{given.job_id}", pointer.blob, of="result")
    assert text.encode() in whole
    assert worker.settlements()[given.job_id].state is JobState.SUCCEEDED


async def test_a_job_whose_body_lies_in_a_blob_is_fetched(worker: Bench, provider: Upstream) -> None:
    job = builders.job("stem-9", conversation=builders.conversation("from the blob"))
    ref = await worker.mine.put_blob("default.stem-9", encode(job), of="job")
    await worker.result(await worker.hand(worker.assignment(job=job, blob=ref)))
    assert provider.asked[0].json["messages"][-1]["content"] == "from the blob"


async def test_a_body_that_is_gone_is_the_jobs_failure(worker: Bench, provider: Upstream) -> None:
    job = builders.job("stem-9")
    ref = await worker.mine.put_blob("default.other-9", encode(job), of="job")
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=job, blob=ref)))
    assert (outcome.failure.kind, outcome.called) == (FailureKind.INVALID_JOB, False)
    assert provider.asked == []


# -- streams


async def test_a_streamed_job_tells_its_tokens_in_order_and_ends_in_a_result(worker: Bench, provider: Upstream) -> None:
    texts = [f"word{number} " for number in range(50)]
    provider.play(stream(*texts))
    given = await worker.hand(worker.assignment(stream=True, attempt=2, switched_from="beta/m", switch_reason="reset"))
    result = await worker.result(given)
    chunks = worker.chunks(given)
    deltas = [delta for one in chunks for delta in one.deltas]
    assert [one.sequence for one in chunks] == list(range(1, len(chunks) + 1))
    assert {one.generation for one in chunks} == {2}
    assert isinstance(deltas[0], StartDelta)
    assert (deltas[0].deployment, deltas[0].switched_from, deltas[0].reason) == ("alpha/m", "beta/m", "reset")
    assert isinstance(deltas[-1], EndDelta)
    assert deltas[-1].usage == result.usage
    text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    assert result.answer is not None
    assert text == "".join(texts) == result.answer.text
    assert result.attempts[0].first_token is not None
    assert provider.asked[0].json["stream"] is True


async def test_the_first_token_is_told_at_once_and_the_next_ones_together(worker: Bench, provider: Upstream) -> None:
    later = [chunk(event(f"{number} ")) for number in range(20)]
    rest = [chunk(event(finish="stop")), chunk(event(usage=True)), chunk("data: [DONE]\n\n"), chunk("")]
    provider.play([head(), chunk(event("first ")), Do.WAIT, *later, *rest])
    given = await worker.hand(worker.assignment(stream=True))
    await eventually(lambda: worker.chunks(given))
    first = [delta for one in worker.chunks(given) for delta in one.deltas]
    assert TextDelta(text="first ") in first
    assert worker.results() == {}
    provider.proceed()
    await worker.result(given)
    assert len(worker.chunks(given)) <= 5


async def test_a_start_is_told_before_a_token_that_takes_its_time(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), Do.WAIT, *stream("late")[1:]])
    given = await worker.hand(worker.assignment(stream=True))
    await eventually(lambda: worker.chunks(given))
    assert [type(delta) for delta in worker.chunks(given)[0].deltas] == [StartDelta]
    provider.proceed()
    await worker.result(given)


async def test_a_connection_of_a_finished_stream_is_used_again(worker: Bench, provider: Upstream) -> None:
    provider.play(stream("one "))
    for _ in range(3):
        await worker.result(await worker.hand(worker.assignment(stream=True)))
    assert provider.connections == 1


async def test_tokens_that_the_broker_does_not_take_are_no_reason_to_fail(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), chunk(event("a")), Do.WAIT, *stream("b")[1:]])
    given = await worker.hand(worker.assignment(stream=True))
    await eventually(lambda: worker.chunks(given))
    worker.bus.disconnect()
    provider.proceed()
    await eventually(lambda: worker.worker.streams.lost > 0)
    worker.bus.reconnect()
    assert (await worker.result(given)).state is JobState.SUCCEEDED


# -- failures


QUICK = Timeouts(connect=0.3, first_token=0.15, stall=0.15, total=0.4)
PATIENT = Timeouts(connect=30, first_token=0.15, stall=0.15, total=30)
"""Who stood still looks again for what was to come next; for the whole there is no second look."""


async def test_an_error_answer_is_classified_with_its_limits_and_nothing_is_billed(
    worker: Bench, provider: Upstream
) -> None:
    told = {"retry_after": "7", "x_ratelimit_limit_requests": "60", "x_ratelimit_remaining_requests": "0"}
    provider.play([error(429, "rate_limit_exceeded", **told)])
    given = await worker.hand(worker.assignment(attempt=2, history=(builders.record(),)))
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.failure.status) == (FailureKind.RATE_LIMIT, 429)
    assert outcome.failure.retry_after == 7
    assert (outcome.failure.provider, outcome.failure.deployment) == ("alpha", "alpha/m")
    assert [reading.limit for reading in outcome.limits if reading.unit == "requests"] == [60]
    assert outcome.called
    assert outcome.history == given.history, "a new leader learns of earlier attempts from here"
    fact = worker.facts()[given.attempt_id]
    assert (fact.usage.total, fact.won, fact.reason, fact.failure) == (0, False, "failed", FailureKind.RATE_LIMIT)
    assert worker.results() == {}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param([Do.CLOSE], FailureKind.RESET, id="closed before an answer"),
        pytest.param([Do.RESET], FailureKind.RESET, id="reset before an answer"),
        pytest.param([b"SMTP ready\r\n\r\n", Do.CLOSE], FailureKind.MALFORMED_RESPONSE, id="no HTTP"),
        pytest.param([error(500)], FailureKind.SERVER_ERROR, id="500"),
        pytest.param([error(503)], FailureKind.OVERLOADED, id="503"),
        pytest.param([error(401)], FailureKind.AUTH, id="401"),
        pytest.param(
            [response("", status=307, extra="location: http://127.0.0.1:1/\r\n")],
            FailureKind.MALFORMED_RESPONSE,
            id="redirect",
        ),
        pytest.param([response("")], FailureKind.MALFORMED_RESPONSE, id="empty body"),
        pytest.param(
            [response("<html>hi</html>", content_type="text/html")], FailureKind.MALFORMED_RESPONSE, id="HTML page"
        ),
        pytest.param([response("{nonsense")], FailureKind.MALFORMED_RESPONSE, id="broken JSON"),
    ],
)
async def test_each_break_on_the_wire_has_its_name(
    worker: Bench, provider: Upstream, script: list[bytes | Do], kind: FailureKind, streamed: bool
) -> None:
    provider.play(script)
    given = await worker.hand(worker.assignment(stream=streamed))
    outcome = await worker.outcome(given)
    assert outcome.failure.kind is kind, outcome.failure
    assert worker.results() == {}
    assert worker.facts()[given.attempt_id].failure is kind


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param([head(), chunk(event("a")), Do.CLOSE], FailureKind.STREAM_TRUNCATED, id="cut"),
        pytest.param([head(), chunk(event("a")), chunk("")], FailureKind.STREAM_TRUNCATED, id="no terminator"),
        pytest.param([head(), chunk(event("a")), Do.RESET], FailureKind.RESET, id="reset"),
        pytest.param(
            [head(), chunk(event("a")), chunk("data: {no\n\n"), Do.HANG], FailureKind.MALFORMED_RESPONSE, id="event"
        ),
        pytest.param([head(), chunk(event("a")), Do.HANG], FailureKind.STALLED, id="stall"),
        pytest.param([Do.HANG], FailureKind.FIRST_TOKEN_TIMEOUT, id="silence"),
        pytest.param([head(), Do.HANG], FailureKind.FIRST_TOKEN_TIMEOUT, id="headers and silence"),
        pytest.param([head(), chunk(": ping\n\n"), Do.HANG], FailureKind.FIRST_TOKEN_TIMEOUT, id="a ping and silence"),
    ],
)
async def test_a_stream_that_breaks_is_never_a_success(
    worker: Bench, provider: Upstream, script: list[bytes | Do], kind: FailureKind
) -> None:
    provider.play(script)
    given = await worker.hand(worker.assignment(stream=True, timeouts=PATIENT))
    outcome = await worker.outcome(given)
    assert outcome.failure.kind is kind, outcome.failure
    assert worker.results() == {}
    told = [delta for one in worker.chunks(given) for delta in one.deltas]
    assert not any(isinstance(delta, EndDelta) for delta in told)
    assert outcome.failure.produced == any(isinstance(delta, TextDelta) for delta in told)


async def test_broken_framing_after_tokens_is_never_a_success(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), chunk(event("a")), Do.WAIT, b"zz\r\n", Do.HANG])
    given = await worker.hand(worker.assignment(stream=True))
    await eventually(lambda: worker.chunks(given))
    provider.proceed()
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.failure.produced) == (FailureKind.STREAM_TRUNCATED, True)


async def test_what_a_broken_stream_has_cost_is_estimated(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), chunk(event("x" * 400)), Do.RESET])
    given = await worker.hand(worker.assignment(stream=True))
    await worker.outcome(given)
    usage = worker.facts()[given.attempt_id].usage
    assert (usage.input, usage.reported) == (given.grant.input_tokens, False)
    assert usage.output == 100


async def test_an_answer_whose_end_was_seen_is_whole_though_the_connection_breaks(
    worker: Bench, provider: Upstream
) -> None:
    provider.play([*stream("all of it")[:-1], Do.RESET])
    result = await worker.result(await worker.hand(worker.assignment(stream=True)))
    assert result.answer is not None
    assert result.answer.text == "all of it"


async def test_a_plain_answer_may_take_longer_than_a_first_token(worker: Bench, provider: Upstream) -> None:
    body = response(completion()).partition(b"\r\n\r\n")[2]
    provider.play([head(content_type="application/json"), chunk(" "), Do.WAIT, chunk(body), chunk("")])
    timeouts = Timeouts(first_token=0.02, stall=0.02, total=5.0)
    given = await worker.hand(worker.assignment(timeouts=timeouts))
    await eventually(lambda: provider.asked)
    asyncio.get_running_loop().call_later(0.1, provider.proceed)
    assert (await worker.result(given)).state is JobState.SUCCEEDED


async def test_the_total_time_bounds_a_plain_answer(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.HANG])
    outcome = await worker.outcome(await worker.hand(worker.assignment(timeouts=QUICK)))
    assert outcome.failure.kind is FailureKind.TOTAL_TIMEOUT
    await eventually(lambda: provider.gone == 1)


async def test_a_stream_that_drips_for_ever_is_ended_by_the_total_time(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), *([chunk(event("x"))] * 3), Do.HANG])
    timeouts = Timeouts(first_token=5, stall=5, total=0.2)
    outcome = await worker.outcome(await worker.hand(worker.assignment(stream=True, timeouts=timeouts)))
    assert (outcome.failure.kind, outcome.failure.produced) == (FailureKind.TOTAL_TIMEOUT, True)


async def test_a_deadline_that_comes_during_the_call_ends_it(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.HANG])
    outcome = await worker.outcome(await worker.hand(worker.assignment(deadline=worker.clock.wall() + 0.2)))
    assert (outcome.failure.kind, outcome.called) == (FailureKind.EXPIRED, True)


async def test_an_error_answer_keeps_its_kind_though_its_body_hangs(worker: Bench, provider: Upstream) -> None:
    cut = error(503).partition(b"\r\n\r\n")[0] + b'\r\n\r\n{"err'
    provider.play([cut, Do.HANG])
    outcome = await worker.outcome(await worker.hand(worker.assignment(timeouts=QUICK)))
    assert (outcome.failure.kind, outcome.failure.status) == (FailureKind.OVERLOADED, 503)


async def test_a_connection_that_is_refused_costs_nothing() -> None:
    async with bench("http://127.0.0.1:1") as worker:
        given = await worker.hand(worker.assignment())
        outcome = await worker.outcome(given)
        assert outcome.failure.kind is FailureKind.CONNECT
        assert worker.facts()[given.attempt_id].usage.total == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_without_end_is_cut_off_at_its_bound(streamed: bool) -> None:
    line = chunk("data: " + "x" * 60_000) if streamed else chunk("x" * 60_000)
    content_type = "text/event-stream" if streamed else "application/json"
    async with (
        upstream([head(content_type=content_type), *([line] * 10), Do.HANG]) as provider,
        bench(provider.url, workers={"max_response": 200_000}) as worker,
    ):
        outcome = await worker.outcome(await worker.hand(worker.assignment(stream=streamed)))
        assert outcome.failure.kind is FailureKind.RESPONSE_TOO_LARGE
        await eventually(lambda: provider.gone + provider.connections - provider.open >= 1)


async def test_gigantic_headers_are_refused(worker: Bench, provider: Upstream) -> None:
    provider.play([response(completion(), extra=f"x-large: {'x' * 100_000}\r\n")])
    outcome = await worker.outcome(await worker.hand(worker.assignment()))
    assert outcome.failure.kind is FailureKind.MALFORMED_RESPONSE

"""A whole worker in front of a scripted server: who asks for JSON gets it, or an outcome that says what was wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord
from job_contracts.stream import EndDelta, TextDelta, ToolCallDelta
from tests.support import builders
from tests.support.upstream import Step, Upstream, chunk, completion, event, head, response, stream, upstream
from tests.support.worker import Bench, bench
from workers.answers.apart import Apart
from workers.answers.expected import reminded

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
GOOD = '{"city": "Oslo", "people": 709037}'
BAD = '{"city": 5}'
FENCED = f"```json\n{GOOD}\n```"
HEAVY: dict[str, Any] = {"$defs": {"p0": {"type": "object"}}, "$ref": "#/$defs/p60"}
for n in range(60):
    HEAVY["$defs"][f"p{n + 1}"] = {"allOf": [{"$ref": f"#/$defs/p{n}"}, {"$ref": f"#/$defs/p{n}"}]}


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion(GOOD))]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


_count = iter(range(10_000))


def asking(schema: dict[str, Any] | None = None, *, strict: bool | None = None, **more: Any) -> Any:
    form = {"type": "json_schema", "json_schema": schema or SCHEMA, "strict": strict}
    settings = {"response_format": form}
    return builders.job(f"json-{next(_count)}", conversation=builders.conversation(settings=settings, **more))


def calling(arguments: str, *, streamed: bool) -> list[Step]:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "find", "arguments": arguments}}
    if not streamed:
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return [response(completion(choices=[choice]))]
    body = {"id": "x", "object": "chat.completion.chunk", "model": "m-1"}
    told = {**body, "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    events = [f"data: {json.dumps(told)}\n\n", event(finish="tool_calls"), event(usage=True), "data: [DONE]\n\n"]
    return [head(), *(chunk(each) for each in events), chunk("")]


def texts(worker: Bench, given: Any) -> str:
    deltas = [delta for one in worker.chunks(given) for delta in one.deltas]
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def ended(worker: Bench, given: Any) -> bool:
    return any(isinstance(delta, EndDelta) for one in worker.chunks(given) for delta in one.deltas)


def answers(*texts: str, streamed: bool = False) -> list[list[Step]]:
    if streamed:
        return [stream(*(text[at : at + 5] for at in range(0, len(text), 5))) for text in texts]
    return [[response(completion(text))] for text in texts]


@pytest.mark.parametrize("streamed", [False, True])
async def test_valid_json_is_given_out_as_it_came(worker: Bench, provider: Upstream, streamed: bool) -> None:
    provider.play(*answers(GOOD, streamed=streamed))
    given = await worker.hand(worker.assignment(job=asking(), stream=streamed))
    result = await worker.result(given)
    assert result.state is JobState.SUCCEEDED
    assert result.answer is not None
    assert result.answer.text == GOOD
    assert not [loss for loss in result.attempts[0].losses if "repaired" in loss.detail]
    if streamed:
        assert texts(worker, given) == GOOD
        assert len([one for chunk in worker.chunks(given) for one in chunk.deltas]) >= 3  # start, text, end


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        BAD,
        "I cannot say.",
        GOOD[:-1],
        '{"city": "Oslo", "more": 1}',
        f"{GOOD} {GOOD}",
        '{"city": "Oslo", "city": "Bergen"}',
        "[1]",
    ],
)
async def test_anything_else_is_an_outcome_that_says_what_is_wrong_and_what_it_cost(
    worker: Bench, provider: Upstream, streamed: bool, text: str
) -> None:
    provider.play(*answers(text, streamed=streamed))
    given = await worker.hand(worker.assignment(job=asking(), stream=streamed))
    outcome = await worker.outcome(given)
    assert outcome.failure.kind is FailureKind.SCHEMA_VIOLATION
    assert outcome.failure.produced
    assert outcome.failure.message.startswith("the answer is not what its schema asks for: ")
    assert (outcome.record.usage.input, outcome.record.usage.output, outcome.record.usage.reported) == (10, 3, True)
    assert not worker.results()
    assert not ended(worker, given)
    fact = worker.facts()[given.attempt_id]
    assert (fact.failure, fact.won, fact.usage.total) == (FailureKind.SCHEMA_VIOLATION, False, 13)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (FENCED, GOOD),
        (f"Here it is: {GOOD}\nAnything else?", GOOD),
        (GOOD[:-1] + ",}", GOOD),
        (f" \n{GOOD}\n ", f" \n{GOOD}\n "),
    ],
)
async def test_a_repaired_answer_is_all_that_anyone_sees(
    worker: Bench, provider: Upstream, streamed: bool, text: str, clean: str
) -> None:
    provider.play(*answers(text, streamed=streamed))
    given = await worker.hand(worker.assignment(job=asking(), stream=streamed))
    result = await worker.result(given)
    assert result.answer is not None
    assert result.answer.text == clean
    told = [loss for loss in result.attempts[0].losses if loss.detail.startswith("repaired: ")]
    assert [loss.field for loss in told] == (["answer"] if clean != text else [])
    if streamed:
        assert texts(worker, given) == clean


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("policy", ["retry", "report"])
async def test_a_route_may_want_nothing_repaired(
    worker: Bench, provider: Upstream, streamed: bool, policy: str
) -> None:
    provider.play(*answers(FENCED, streamed=streamed))
    given = await worker.hand(worker.assignment(job=asking(), stream=streamed, on_invalid=policy))
    assert (await worker.outcome(given)).failure.kind is FailureKind.SCHEMA_VIOLATION


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_was_cut_is_not_valid_even_if_it_reads_well(
    worker: Bench, provider: Upstream, streamed: bool
) -> None:
    if streamed:
        events = [event(GOOD), event(finish="length"), event(usage=True), "data: [DONE]\n\n"]
        provider.play([head(), *(chunk(each) for each in events), chunk("")])
    else:
        message = {"role": "assistant", "content": GOOD}
        choice = {"index": 0, "message": message, "finish_reason": "length"}
        provider.play([response(completion(choices=[choice]))])
    given = await worker.hand(worker.assignment(job=asking(), stream=streamed))
    outcome = await worker.outcome(given)
    assert outcome.failure.kind is FailureKind.SCHEMA_VIOLATION
    assert "cut at the limit" in outcome.failure.message


async def test_an_answer_that_the_provider_filtered_is_told_as_that(worker: Bench, provider: Upstream) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": '{"ci'}, "finish_reason": "content_filter"}
    provider.play([response(completion(choices=[choice]))])
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=asking())))
    assert outcome.failure.kind is FailureKind.CONTENT_POLICY


async def test_a_refusal_is_given_out_as_a_refusal(worker: Bench, provider: Upstream) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    provider.play([response(completion(choices=[{"index": 0, "message": message, "finish_reason": "stop"}]))])
    result = await worker.result(await worker.hand(worker.assignment(job=asking())))
    assert result.answer is not None
    assert (result.answer.refusal, result.answer.text) == ("I will not.", "")


async def test_json_mode_wants_an_object(worker: Bench, provider: Upstream) -> None:
    provider.play(*answers("[1, 2]", GOOD))
    job = builders.job(
        "mode-1", conversation=builders.conversation(settings={"response_format": {"type": "json_object"}})
    )
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=job)))
    assert outcome.failure.message.endswith('the root: the value is not of type "object"')
    again = job.model_copy(update={"id": "mode-2"})
    assert (await worker.result(await worker.hand(worker.assignment(job=again)))).answer is not None


NULLS = '{"city": "Oslo", "people": null, "note": null}'


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("policy", ["repair", "retry", "report"])
async def test_nulls_that_the_target_was_made_to_write_are_left_out_again_whatever_the_route_says(
    worker: Bench, provider: Upstream, streamed: bool, policy: str
) -> None:
    provider.play(*answers(NULLS, streamed=streamed))
    given = await worker.hand(worker.assignment(job=asking(strict=True), stream=streamed, on_invalid=policy))
    result = await worker.result(given)
    sent = provider.asked[-1].json["response_format"]["json_schema"]["schema"]
    assert sent["properties"]["note"]["type"] == ["string", "null"]
    assert result.answer is not None
    assert result.answer.text == '{"city": "Oslo"}'
    if streamed:
        assert texts(worker, given) == result.answer.text


async def test_nulls_of_the_models_own_are_a_repair_and_none_where_they_were_shown(
    worker: Bench, provider: Upstream
) -> None:
    provider.play(*answers(NULLS))
    result = await worker.result(await worker.hand(worker.assignment(job=asking())))
    assert result.answer is not None
    assert result.answer.text == '{"city": "Oslo"}'
    refused = await worker.outcome(await worker.hand(worker.assignment(job=asking(), on_invalid="retry")))
    assert "note" in refused.failure.message or "people" in refused.failure.message
    provider.play(*answers(NULLS, streamed=True))
    shown = await worker.outcome(await worker.hand(worker.assignment(job=asking(), stream=True)))
    assert "was shown already" in shown.failure.message


TOOLS = [{"name": "find", "parameters": SCHEMA, "strict": True}, {"name": "free", "parameters": SCHEMA}]


@pytest.mark.parametrize("streamed", [False, True])
async def test_arguments_lose_the_nulls_that_strict_mode_makes(
    worker: Bench, provider: Upstream, streamed: bool
) -> None:
    provider.play(calling(NULLS, streamed=streamed))
    job = builders.job(f"tool-{next(_count)}", conversation=builders.conversation(tools=TOOLS))
    given = await worker.hand(worker.assignment(job=job, stream=streamed))
    result = await worker.result(given)
    assert result.answer is not None
    assert result.answer.tool_calls[0].arguments == '{"city": "Oslo"}'
    if streamed:
        calls = [one for chunk in worker.chunks(given) for one in chunk.deltas if isinstance(one, ToolCallDelta)]
        assert [(one.name, one.arguments) for one in calls] == [("find", '{"city": "Oslo"}')]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("arguments", "valid"), [(GOOD, True), (BAD, False), (GOOD[:-1], False), ("", False)])
async def test_arguments_of_a_strict_tool_are_checked(
    worker: Bench, provider: Upstream, streamed: bool, arguments: str, valid: bool
) -> None:
    provider.play(calling(arguments, streamed=streamed))
    job = builders.job(f"tool-{next(_count)}", conversation=builders.conversation(tools=TOOLS))
    given = await worker.hand(worker.assignment(job=job, stream=streamed))
    if valid:
        result = await worker.result(given)
        assert result.answer is not None
        assert result.answer.tool_calls[0].arguments == arguments
        if streamed:
            deltas = [delta for one in worker.chunks(given) for delta in one.deltas]
            assert "".join(one.arguments for one in deltas if isinstance(one, ToolCallDelta)) == arguments
    else:
        outcome = await worker.outcome(given)
        assert outcome.failure.kind is FailureKind.SCHEMA_VIOLATION
        assert "the arguments of find (call 1): " in outcome.failure.message
        assert not ended(worker, given)


async def test_calls_of_tools_that_are_not_strict_are_the_programs_own_matter(
    worker: Bench, provider: Upstream
) -> None:
    provider.play(calling(BAD, streamed=False))
    tools = [{"name": "find", "parameters": SCHEMA}]
    job = builders.job("tool-free", conversation=builders.conversation(tools=tools))
    assert (await worker.result(await worker.hand(worker.assignment(job=job)))).state is JobState.SUCCEEDED


async def test_a_turn_that_calls_a_tool_is_no_answer_yet(worker: Bench, provider: Upstream) -> None:
    provider.play(calling(BAD, streamed=False))
    job = asking(tools=[{"name": "find", "parameters": SCHEMA}])
    assert (await worker.result(await worker.hand(worker.assignment(job=job)))).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/x"},
        {"type": "strin"},
        {"pattern": "("},
        {"enum": ["x" * 300_000]},
        {"$ref": "#/no"},
    ],
)
async def test_a_schema_nobody_can_check_against_is_reported_before_anything_is_spent(
    worker: Bench, provider: Upstream, schema: dict[str, Any]
) -> None:
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=asking(schema))))
    assert outcome.failure.kind is FailureKind.INVALID_JOB
    assert outcome.failure.field == "settings.response_format.json_schema"
    assert not outcome.called
    assert not provider.asked


async def test_a_schema_that_takes_for_ever_ends_its_own_job_and_no_other(provider: Upstream) -> None:
    async with bench(provider.url) as worker:
        worker.worker.answers._apart = Apart(patience=0.5)
        hostile = await worker.hand(worker.assignment(job=asking(HEAVY)))
        other = await worker.hand(worker.assignment(job=asking()))
        outcome = await worker.outcome(hostile, within=30.0)
        assert outcome.failure.kind is FailureKind.INVALID_JOB
        assert "takes too long" in outcome.failure.message
        assert other.job_id in worker.results() or (await worker.result(other)).state is JobState.SUCCEEDED
        asked = len(provider.asked)
        again = await worker.outcome(await worker.hand(worker.assignment(job=asking(HEAVY))))
        assert not again.called
        assert len(provider.asked) == asked


async def test_a_schema_that_refers_to_itself_is_judged_apart(worker: Bench, provider: Upstream) -> None:
    tree = {"type": "object", "properties": {"sub": {"items": {"$ref": "#"}}}, "required": ["sub"]}
    provider.play(*answers('{"sub": [{"sub": []}]}', '{"sub": [{}]}'))
    assert (await worker.result(await worker.hand(worker.assignment(job=asking(tree))), within=30.0)).answer
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=asking(tree))))
    assert outcome.failure.message.endswith('sub[0]: "sub" is a required property')


@pytest.mark.parametrize("tell", [False, True])
async def test_the_model_is_told_what_was_wrong_where_the_route_says_so(
    worker: Bench, provider: Upstream, tell: bool
) -> None:
    first = await worker.hand(worker.assignment(job=asking()))
    provider.play(*answers(GOOD))
    failure = builders.record(
        failure={"kind": "schema_violation", "message": "the answer is not what its schema asks for: city: no text"}
    )
    history: tuple[AttemptRecord, ...] = (failure,)
    second = worker.assignment(job=asking(), attempt=2, history=history, tell_invalid=tell)
    await worker.result(first)
    assert (await worker.result(await worker.hand(second))).state is JobState.SUCCEEDED
    messages = provider.asked[-1].json["messages"]
    assert len(messages) == 1 + tell
    assert ("city: no text" in json.dumps(messages)) is tell


def test_a_question_about_a_draft_tells_nothing_of_answers_before_the_draft(worker: Bench) -> None:
    bad = builders.record(failure={"kind": "schema_violation", "message": "city: no text"})
    draft = builders.record(number=2, failure=None)
    order = worker.assignment(job=asking(), attempt=3, history=(bad, draft), tell_invalid=True)
    assert reminded(asking().chat, order) == asking().chat
    again = order.model_copy(update={"history": (bad, draft, bad)})
    assert len(reminded(asking().chat, again).messages) == 2


async def test_a_verdict_in_the_background_that_is_no_json_is_unread(worker: Bench, provider: Upstream) -> None:
    provider.play(*answers("I think it is fine."))
    job = asking().model_copy(update={"id": "verify-1"})
    result = await worker.result(await worker.hand(worker.assignment(job=job)))
    assert result.verification is not None
    assert result.verification.verdict == "unread"


async def test_jobs_without_a_schema_are_as_they_were(worker: Bench, provider: Upstream) -> None:
    provider.play(*answers("```json\nwhatever"))
    result = await worker.result(await worker.hand(worker.assignment()))
    assert result.answer is not None
    assert result.answer.text == "```json\nwhatever"
    assert not worker.worker.answers._ready

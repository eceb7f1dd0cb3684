"""What a worker makes of a draft: its own, which it keeps, and another's, which it verifies."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from job_contracts.attempts import Assignment, Checking
from job_contracts.chat import Conversation, JsonSchemaFormat, Settings, UserTurn
from job_contracts.codec import decode
from job_contracts.failures import FailureKind
from job_contracts.results import Result
from tests.support import builders
from tests.support.worker import Bench, bench


def answering(text: str, asked: list[dict[str, Any]]) -> httpx.MockTransport:
    """A provider that always says the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return httpx.Response(200, json={"id": "1", "model": "m", "choices": [choice], "usage": usage})

    return httpx.MockTransport(answer)


async def drafted(made: Bench) -> Any:
    order = await made.hand(made.assignment(checking=Checking(always=True)))
    outcome = await made.outcome(order)
    assert outcome.draft is not None
    assert outcome.record.failure is None
    assert not made.results()
    return order, outcome


def then(order: Assignment, outcome: Any, **over: Any) -> Assignment:
    """The attempt that looks at the draft, at another deployment of the same pool."""
    changed = {"attempt": 2, "checking": None, "deployment": "alpha/n", "model": "n", "history": (outcome.record,)}
    return order.model_copy(update={**changed, "draft": outcome.draft, **over})


async def verdict(text: str) -> tuple[Bench, Any, list[dict[str, Any]]]:
    """A draft from one worker, judged by the same pool with another answer."""
    asked: list[dict[str, Any]] = []
    texts = iter(["the draft", text])

    def answer(request: httpx.Request) -> httpx.Response:
        return answering(next(texts), asked).handler(request)  # type: ignore[return-value]

    async with bench("http://upstream", transport=httpx.MockTransport(answer)) as made:
        order, outcome = await drafted(made)
        check = then(order, outcome)
        await made.hand(check)
        await made.settled(check)
        return made, check, asked


async def test_a_draft_is_kept_whole_and_told_as_an_outcome() -> None:
    async with bench("http://upstream", transport=answering("the draft", [])) as made:
        order, outcome = await drafted(made)
        data = await made.mine.get_blob(f"{order.project}.{order.job_id}", outcome.draft.blob, of="result")
        kept = decode(Result, data)
        assert kept.answer is not None
        assert kept.answer.text == "the draft"
        assert kept.verification is not None
        assert (kept.verification.verdict, kept.verification.draft) == ("unverified", "alpha/m")
        fact = made.facts()[order.attempt_id]
        assert (fact.reason, fact.won, fact.verdict) == ("user", True, None)


async def test_a_confident_answer_is_no_draft_and_one_that_tells_no_confidence_is() -> None:
    async with bench("http://upstream", transport=answering("the draft", [])) as made:
        sure = await made.hand(made.assignment(checking=Checking()))
        assert (await made.result(sure)).verification is None
        unsure = await made.hand(made.assignment(checking=Checking(below=0.5)))
        assert (await made.outcome(unsure)).draft is not None


@pytest.mark.parametrize(("sure", "kept"), [("0.95", False), ("30%", True), ("perhaps", True)])
async def test_a_model_is_asked_how_sure_it_is_and_what_it_says_of_that_is_no_part_of_the_answer(
    sure: str, kept: bool
) -> None:
    asked: list[dict[str, Any]] = []
    said = f"Rivers are long.\n\nConfidence: {sure}"
    async with bench("http://upstream", transport=answering(said, asked)) as made:
        order = await made.hand(made.assignment(checking=Checking(below=0.5, self_reported=True)))
        await made.settled(order)
        assert (order.job_id in made.results()) is not kept
        if kept:
            name = f"{order.project}.{order.job_id}"
            draft = (await made.outcome(order)).draft
            assert draft is not None
            whole = decode(Result, await made.mine.get_blob(name, draft.blob, of="result"))
        else:
            whole = await made.result(order)
        assert whole.answer is not None
        assert whole.answer.text == ("Rivers are long." if sure != "perhaps" else said)
        assert "Confidence: 0.8" in asked[0]["messages"][-1]["content"]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ASKED = Conversation(
    messages=(UserTurn(role="user", content="How many?"),),
    settings=Settings(response_format=JsonSchemaFormat(name="n", json_schema=SCHEMA)),
)


@pytest.mark.parametrize("text", ['{"n": 1}', '{"n": "many"}'])
async def test_json_that_is_not_what_was_asked_for_is_a_draft_that_never_stands_as_it_is(text: str) -> None:
    asked: list[dict[str, Any]] = []
    accepted = json.dumps({"verdict": "accept", "confidence": 1, "reason": "fine", "answer": None})
    texts = iter([text, accepted])

    def answer(request: httpx.Request) -> httpx.Response:
        return answering(next(texts), asked).handler(request)  # type: ignore[return-value]

    async with bench("http://upstream", transport=httpx.MockTransport(answer)) as made:
        checking = Checking(below=0.5, self_reported=True, unfit=True)
        order = await made.hand(made.assignment(job=builders.job("stem-j", conversation=ASKED), checking=checking))
        await made.settled(order)
        assert len(asked[0]["messages"]) == 1, "an answer in JSON has no room for a further line"
        if text == '{"n": 1}':
            assert (await made.result(order)).answer.text == text  # type: ignore[union-attr]
            return
        outcome = await made.outcome(order)
        assert outcome.draft is not None
        assert not outcome.draft.fits
        check = then(order, outcome)
        await made.hand(check)
        await made.settled(check)
        assert not made.results()
        assert made.outcomes()[check.job_id].failure.kind is FailureKind.MALFORMED_RESPONSE


@pytest.mark.parametrize(
    ("said", "text", "deployment"),
    [
        ({"verdict": "accept", "confidence": 0.9, "reason": "right", "answer": None}, "the draft", "alpha/m"),
        ({"verdict": "correct", "confidence": 0.9, "reason": "nearly", "answer": "better"}, "better", "alpha/n"),
        ({"verdict": "replace", "confidence": 0.9, "reason": "wrong", "answer": "other"}, "other", "alpha/n"),
    ],
)
async def test_the_result_is_the_draft_or_what_the_verifier_puts_in_its_place(
    said: dict[str, Any], text: str, deployment: str
) -> None:
    made, check, asked = await verdict(json.dumps(said))
    result = made.results()[check.job_id]
    assert result.answer is not None
    assert (result.answer.text, result.deployment) == (text, deployment)
    assert result.verification is not None
    told = result.verification
    assert (told.verdict, told.draft, told.verifier) == (said["verdict"], "alpha/m", "alpha/n")
    assert [record.number for record in result.attempts] == [1, 2]
    assert '"the draft"' in asked[1]["messages"][-1]["content"]
    assert made.facts()[check.attempt_id].verdict == said["verdict"]
    assert [event.fields["verdict"] for event in made.said("verdict.reached")] == [said["verdict"]]
    assert made.settlements()[check.job_id].deployment == "alpha/n"


@pytest.mark.parametrize(("said", "becomes"), [(0.9, "result"), (0.5, "result"), (0.2, "draft"), ("much", "failure")])
async def test_a_judges_score_makes_a_draft_the_answer_or_leaves_it_to_the_verifier(
    said: float | str, becomes: str
) -> None:
    asked: list[dict[str, Any]] = []
    texts = iter(["the draft", json.dumps({"reason": "so", "score": said})])

    def answer(request: httpx.Request) -> httpx.Response:
        return answering(next(texts), asked).handler(request)  # type: ignore[return-value]

    async with bench("http://upstream", transport=httpx.MockTransport(answer)) as made:
        order = await made.hand(made.assignment(checking=Checking(below=0.5, judged=True, unfit=True)))
        outcome = await made.outcome(order)
        draft = outcome.draft
        assert draft is not None
        assert draft.score is None
        judging = then(order, outcome, accept_from=0.5)
        await made.hand(judging)
        await made.settled(judging)
        assert '"score" is a number' in asked[1]["messages"][-1]["content"]
        assert made.facts()[judging.attempt_id].verdict is None
        if becomes == "result":
            result = made.results()[order.job_id]
            assert result.answer is not None
            assert (result.answer.text, result.deployment, result.verification) == ("the draft", "alpha/m", None)
            assert [record.number for record in result.attempts] == [1, 2]
            return
        assert not made.results()
        told = made.outcomes()[order.job_id]
        if becomes == "draft":
            assert told.draft == draft.model_copy(update={"score": 0.2})
            assert told.record.failure is None
        else:
            assert (told.failure.kind, told.draft) == (FailureKind.MALFORMED_RESPONSE, draft)


async def test_what_is_verified_in_any_case_needs_no_judge() -> None:
    async with bench("http://upstream", transport=answering("the draft", [])) as made:
        order = await made.hand(made.assignment(checking=Checking(always=True, below=0.5, judged=True)))
        draft = (await made.outcome(order)).draft
        assert draft is not None
        assert draft.score == 0.0


async def test_a_verdict_that_cannot_be_read_is_a_failure_that_keeps_the_draft() -> None:
    made, check, _ = await verdict("I think it is fine.")
    assert not made.results()
    outcome = made.outcomes()[check.job_id]
    assert outcome.failure.kind is FailureKind.MALFORMED_RESPONSE
    assert outcome.draft == check.draft

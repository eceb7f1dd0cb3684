"""What a job's words mean: states, fingerprints, answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.chat import Answer, Conversation, Usage
from job_contracts.codec import check, decode, encode
from job_contracts.jobs import JobState, body_hash
from job_contracts.messages import MESSAGES
from tests.support import builders
from tests.support.strategies_chat import answers, usages

TERMINAL = {"succeeded", "failed", "cancelled", "expired", "dead"}


@pytest.mark.parametrize("state", JobState)
def test_five_states_are_the_end(state: JobState) -> None:
    assert state.terminal == (state.value in TERMINAL)


@given(st.binary(), st.binary())
def test_two_bodies_have_two_fingerprints(one: bytes, other: bytes) -> None:
    assert (body_hash(one) == body_hash(other)) == (one == other)


def test_a_job_that_is_written_again_has_the_same_fingerprint() -> None:
    written = encode(builders.job(tags={"b": "1", "a": "2"}))
    assert body_hash(encode(decode(MESSAGES["job"], written))) == body_hash(written)


@given(answers)
def test_an_answer_can_be_said_again_as_a_turn(answer: Answer) -> None:
    conversation = check(Conversation, {"messages": [answer.as_turn()]})
    (turn,) = conversation.messages
    assert turn.content == answer.parts


def test_an_answer_is_read_by_kind_of_part() -> None:
    answer = check(
        Answer,
        {
            "parts": [
                {"type": "reasoning", "text": "Hm. "},
                {"type": "text", "text": "It is "},
                {"type": "tool_call", "id": "1", "name": "look"},
                {"type": "reasoning", "text": "Yes."},
                {"type": "text", "text": "blue."},
            ]
        },
    )
    assert answer.text == "It is blue."
    assert answer.reasoning == "Hm. Yes."
    assert [call.name for call in answer.tool_calls] == ["look"]
    assert answer.refusal is None


def test_a_refusal_is_told_from_silence() -> None:
    assert check(Answer, {"parts": [{"type": "refusal", "text": ""}]}).refusal == ""


@given(usages)
def test_the_total_counts_cached_and_reasoning_tokens_once(usage: Usage) -> None:
    assert usage.total == usage.input + usage.output

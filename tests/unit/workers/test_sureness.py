"""How sure a model says it is: a last line that is read, and taken off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.chat import Answer, TextPart, TokenLogprob
from workers.sureness import parted


def answer(text: str) -> Answer:
    return Answer(parts=(TextPart(text=text),))


@pytest.mark.parametrize(
    ("text", "left", "sure"),
    [
        ("Yes.\nConfidence: 0.8", "Yes.", 0.8),
        ("Yes.\n\n**Confidence:** 0.85\n", "Yes.", 0.85),
        ("Yes. (confidence: 70 %)", "Yes.", 0.7),
        ("Yes.\nConfidence = 95", "Yes.", 0.95),
        ("Yes.\nConfidence: 1.0.", "Yes.", 1.0),
        ("Yes.\nConfidence: 950", "Yes.", None),
        ("Confidence: 0.8", "Confidence: 0.8", None),
        ("Confidence: 0.8 is what they told me.", "Confidence: 0.8 is what they told me.", None),
        ("My overconfidence: 0.8", "My overconfidence: 0.8", None),
        ("Yes.\nConfidence: high", "Yes.\nConfidence: high", None),
        ("", "", None),
    ],
)
def test_the_last_line_tells_and_goes(text: str, left: str, sure: float | None) -> None:
    made, told = parted(answer(text))
    assert (made.text, told) == (left, sure)


def test_parts_that_hold_the_line_alone_go_and_probabilities_are_of_what_is_left() -> None:
    parts = (TextPart(text="Yes."), TextPart(text="\nConfidence: 0.5"))
    tokens = tuple(TokenLogprob(token=token, logprob=-1.0) for token in ("Yes", ".", "\n", "Confidence: 0.5"))
    made, told = parted(Answer(parts=parts, logprobs=tokens))
    assert (made.parts, told) == (parts[:1], 0.5)
    assert [token.token for token in made.logprobs] == ["Yes", "."]


@given(st.text(max_size=300), st.floats(0, 1).map(lambda sure: round(sure, 3)))
def test_whatever_was_said_before_it_stays(text: str, sure: float) -> None:
    made, told = parted(answer(f"{text}x\nConfidence: {sure:.3f}"))
    assert made.text == f"{text}x"
    assert told == pytest.approx(sure)

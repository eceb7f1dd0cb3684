"""A body that is no job: whatever stands in it, the refusal is brief, and fits into any message that tells of it."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import to_json

from job_contracts.codec import encode
from scheduler.intake import body_problem, refusal

MOST = 32 * 1024
LONG = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=8), st.sampled_from([1, 20_000]))
VALUE = st.recursive(
    st.one_of(st.none(), st.integers(), LONG),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(LONG, inner, max_size=3)),
    max_leaves=4,
)
NAMES = ("kind", "embedding", "lane", "constraints", "version", "max_cost")
TURN = st.fixed_dictionaries({"role": LONG | st.just("user"), "content": VALUE})
TALK = st.fixed_dictionaries({"messages": st.lists(TURN, max_size=2)}, optional={"settings": VALUE, "tools": VALUE})
JOB = {"id": st.just("a-1") | LONG, "route": st.just("fast"), "conversation": TALK}
MORE = {"tags": st.dictionaries(LONG, st.integers() | LONG, max_size=2), **dict.fromkeys(NAMES, VALUE)}
GOOD = {"messages": [{"role": "user", "content": "hello"}]}


@given(st.fixed_dictionaries(JOB, optional=MORE))
@example({"id": "a-1", "route": "fast", "tags": {"K" * 520_000: 5}, "conversation": GOOD})
@example({"id": "\x00" * 80_000, "route": "fast", "conversation": GOOD})
@example({"id": "a-1", "route": "fast", "conversation": {"messages": [{"role": "K" * 520_000}]}})
def test_a_refusal_is_bounded_for_any_body(body: dict[str, Any]) -> None:
    problem = body_problem(to_json(body), "a-1")
    if problem is not None:
        assert len(encode(refusal(problem))) < MOST


@given(st.binary() | VALUE.map(to_json))
def test_a_refusal_of_what_is_no_object_is_bounded(body: bytes) -> None:
    problem = body_problem(body, "a-1")
    assert problem is not None
    assert len(encode(refusal(problem))) < MOST


def test_a_long_name_leaves_the_reason_and_the_remedy_in_sight() -> None:
    problem = body_problem(to_json({"id": "a-1", "route": "fast", "tags": {"K" * 520_000: 5}}), "a-1")
    assert problem is not None
    told = refusal(problem)
    assert told.field is not None
    assert told.field.startswith("tags.KKK")
    assert told.field.endswith("…")
    assert "should be a valid string" in told.message
    assert told.remedy == f"correct {told.field}"

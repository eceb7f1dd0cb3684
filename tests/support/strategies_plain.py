"""Plain values of any message, for property tests: words of any script, names, times, amounts, JSON."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from job_contracts import chat, configured, failures, jobs

T = TypeVar("T")


def maybe(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """A value or nothing."""
    return st.none() | values


def some(values: st.SearchStrategy[T], *, least: int = 0, most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """A few of them."""
    return st.lists(values, min_size=least, max_size=most).map(tuple)


words = st.text(max_size=12)
"""Text of any script, line breaks and control characters included."""
names = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)
tokens = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
job_ids = st.from_regex(r"[A-Za-z0-9_]{1,32}-[A-Za-z0-9_]{1,32}", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
whens = st.floats(min_value=0, max_value=4e9)
"""UTC seconds."""
spans = st.floats(min_value=0, max_value=1e6)
counts = st.integers(min_value=0, max_value=jobs.MOST_TOKENS)
small = st.integers(min_value=0, max_value=50)
money = st.decimals(min_value=0, max_value=10_000, allow_nan=False, allow_infinity=False, places=6)
json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(words, json_values, max_size=3)
tags = st.dictionaries(words, words, max_size=3)
configurations = st.builds(configured.Configured, parts=tags, since=maybe(whens))
lanes = st.sampled_from(jobs.LANES)
finish_reasons = st.sampled_from(chat.FinishReason)
states = st.sampled_from(jobs.JobState)
failure_kinds = st.sampled_from(failures.FailureKind)

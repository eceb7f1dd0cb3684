"""Messages about spend, for property tests.

``tests.support.strategies`` has them among all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from hypothesis import strategies as st

from job_contracts import money as contract_money
from job_contracts import spend
from job_contracts.codec import Wire
from tests.support.strategies_plain import configurations

_words = st.none() | st.text(max_size=12)
_text = st.text(max_size=12)
_counts = st.integers(min_value=0, max_value=10**15)
_whens = st.floats(min_value=0, max_value=spend.LATEST)
_maybe_when = st.none() | _whens
_money = st.decimals(min_value=-10_000, max_value=10_000, allow_nan=False, allow_infinity=False, places=12)
_maybe_money = st.none() | _money

_names: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(
    ("project", "provider", "model", "deployment", "route", "key"), _words
)
_filters = {**_names, "since": st.floats(min_value=0, max_value=1e6), "until": st.none() | st.floats(1e6, 2e6)}
_read = {"through": _maybe_when, "lag": _maybe_when}
_sums: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("attempts", "won", "unpriced", "estimated", "input", "cache_read", "cache_write", "output", "reasoning"),
        _counts,
    ),
    **dict.fromkeys(("cost", "waste"), _money),
}
_starts = st.none() | _counts
_rows = st.builds(
    spend.SpendRow, **_sums, **_names, tag=_words, reason=_words, hour=_starts, day=_starts, month=_starts
)
_tagged = st.builds(
    spend.AskSpend,
    **_filters,
    by=st.lists(
        st.sampled_from([one for one in get_args(spend.Dimension) if one != "reason"]), max_size=4, unique=True
    ).map(tuple),
    tag=_text,
    tag_value=_words,
    limit=st.integers(1, spend.MAX_ROWS),
    after=_words,
)
_by_reason = st.builds(
    spend.AskSpend, **_filters, by=st.just(("reason", "hour")), reason=_words, limit=st.integers(1, spend.MAX_ROWS)
)
_attempts = st.builds(
    spend.Attempt,
    **dict.fromkeys(
        (
            *("attempt", "project", "key", "route", "deployment", "provider", "model"),
            *("reason", "told_by"),
        ),
        _text,
    ),
    **dict.fromkeys(("at", "seconds"), _whens),
    **dict.fromkeys(("won", "reported", "stated"), st.booleans()),
    **dict.fromkeys(("input", "cache_read", "cache_write", "output", "reasoning"), _counts),
    first_token=_maybe_when,
    failure=_words,
    price=_words,
    experiment=_words,
    arm=_words,
    cost=_maybe_money,
    reserved=_maybe_money,
    tags=st.dictionaries(_text, _text, max_size=2),
)
_alternatives = st.builds(
    spend.Alternative,
    deployment=_text,
    cost=_maybe_money,
    difference=_maybe_money,
    notes=st.lists(_text, max_size=2).map(tuple),
)
_projections = st.builds(
    spend.Projection,
    payer=st.sampled_from(["all", "project", "route", "key", "tag"]),
    name=_text,
    project=_words,
    window=st.sampled_from(contract_money.WINDOWS),
    start=_whens,
    end=_maybe_when,
    budget=_maybe_money,
    soft=st.booleans(),
    spent=_money,
    rate=_money,
    projected=_maybe_money,
    exhausted=_maybe_when,
)
_verified = st.builds(
    spend.VerifiedRoute,
    **dict.fromkeys(("route", "verifier"), _text),
    mode=st.sampled_from(["before", "after"]),
    **dict.fromkeys(("accept", "correct", "replace", "unread"), _counts),
    agreement=st.none() | st.floats(0, 1),
    drafts=st.builds(spend.Sums, **_sums),
    verification=_money,
    alone=st.lists(_alternatives, max_size=2).map(tuple),
)

_missed = st.builds(spend.Missed, stream=_text, first=st.integers(0, 2**40), last=st.integers(0, 2**40), at=_whens)
SPEND: Mapping[str, st.SearchStrategy[Wire]] = {
    "ask_spend": _tagged | _by_reason,
    "spend": st.builds(
        spend.Spend,
        **_read,
        since=_whens,
        until=_maybe_when,
        rows=st.lists(_rows, max_size=2).map(tuple),
        total=st.builds(spend.Sums, **_sums),
        after=_words,
    ),
    "ask_attempts": st.builds(
        spend.AskAttempts,
        **_filters,
        tag=_text,
        tag_value=_words,
        reason=_words,
        failure=_words,
        won=st.none() | st.booleans(),
        priced=st.none() | st.booleans(),
        limit=st.integers(1, spend.MAX_ROWS),
        after=_words,
    )
    | st.builds(spend.AskAttempts, project=_text, job=_text, experiment=_text, arm=_words),
    "attempt_page": st.builds(
        spend.AttemptPage, **_read, rows=st.lists(_attempts, max_size=2).map(tuple), after=_words
    ),
    "ask_comparison": st.builds(
        spend.AskComparison, **_filters, reason=_words, against=st.lists(_text, max_size=3).map(tuple)
    ),
    "comparison": st.builds(
        spend.Comparison,
        **_read,
        since=_whens,
        until=_maybe_when,
        seen=st.builds(spend.Sums, **_sums),
        rows=st.lists(_alternatives, max_size=2).map(tuple),
        approximated=st.lists(_text, max_size=2).map(tuple),
    ),
    "ask_drafts": st.builds(
        spend.AskDrafts,
        **{name: _filters[name] for name in ("project", "route", "since", "until")},
    ),
    "draft_report": st.builds(
        spend.DraftReport,
        **_read,
        since=_whens,
        until=_maybe_when,
        rows=st.lists(_verified, max_size=2).map(tuple),
        approximated=st.lists(_text, max_size=2).map(tuple),
    ),
    "ask_forecast": st.builds(spend.AskForecast, project=_words),
    "forecast": st.builds(
        spend.Forecast, **_read, at=_whens, rows=st.lists(_projections, max_size=2).map(tuple), method=_text
    ),
    "ledger_state": st.builds(
        spend.LedgerState,
        **_read,
        at=_whens,
        kind=_text,
        revision=_words,
        wrong=_words,
        bytes=st.none() | st.integers(0, 2**60),
        attempts=st.none() | st.integers(0, 2**40),
        position=st.integers(0, 2**40),
        missed=st.lists(_missed, max_size=2).map(tuple),
        missed_messages=st.integers(0, 2**40),
        configured=st.none() | configurations,
    ),
}

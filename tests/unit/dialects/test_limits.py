from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.attempts import LimitReading
from workers.dialects.limits import fullest_wait, read


def by_unit(headers: dict[str, str], **options: float) -> dict[str, LimitReading]:
    return {reading.unit: reading for reading in read(headers, **options)}


def test_openai_says_when_its_buckets_are_full_again() -> None:
    found = by_unit(
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-tokens": "199998",
            "x-ratelimit-reset-tokens": "0s",
            "x-ratelimit-limit-input-images": "50000",
            "content-type": "application/json",
        }
    )
    assert found == {
        "requests": LimitReading(unit="requests", limit=500, remaining=499, reset=0.12, window=60),
        "tokens": LimitReading(unit="tokens", limit=200_000, remaining=199_998, reset=0, window=60),
    }


def test_anthropic_says_points_in_time() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "41",
        "anthropic-ratelimit-requests-reset": "2026-11-22T07:00:12Z",
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-22T07:01:04Z",
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "8000",
    }
    dated = by_unit({**headers, "date": "Sun, 22 Nov 2026 07:00:04 GMT"})
    assert dated["requests"].reset == 8
    assert dated["input_tokens"] == LimitReading(unit="input_tokens", limit=30_000, remaining=0, reset=60)
    assert dated["output_tokens"].reset is None
    assert by_unit(headers)["input_tokens"].reset is None
    assert fullest_wait({**headers, "date": "Sun, 22 Nov 2026 07:00:04 GMT"}) == 60


def test_the_window_is_in_the_name_or_in_the_providers_row() -> None:
    mistral = {"x-ratelimit-limit-tokens-minute": "500000", "x-ratelimit-remaining-req-10-second": "3"}
    assert {reading.window for reading in read(mistral)} == {60.0, 10.0}
    groq = by_unit({"x-ratelimit-limit-requests": "14400", "x-ratelimit-limit-tokens": "6000"}, requests_window=86400)
    assert (groq["requests"].window, groq["tokens"].window) == (86400, 60)
    fireworks = by_unit({"x-ratelimit-limit-tokens-prompt": "10", "x-ratelimit-limit-tokens-generated": "20"})
    assert set(fireworks) == {"input_tokens", "output_tokens"}


def test_only_a_limit_with_nothing_left_is_waited_for() -> None:
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "50s"}
    assert fullest_wait(headers) is None
    assert fullest_wait({**headers, "x-ratelimit-remaining-requests": "0"}) == 50


def test_what_cannot_be_understood_is_left_out() -> None:
    assert read({"x-ratelimit-limit-requests": "REDACTED", "x-ratelimit-remaining-requests": "-1"}) == ()
    assert read({}) == ()


@given(
    st.dictionaries(
        st.sampled_from(
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-reset", "date"]
        ),
        st.text(max_size=20) | st.just("1e400"),
    )
)
def test_no_header_is_too_strange(headers: dict[str, str]) -> None:
    for reading in read(headers):
        assert reading.limit is None or reading.limit >= 0
    assert (fullest_wait(headers) or 0) >= 0


def readings(headers: dict[str, str], **windows: float) -> set[tuple[str, float | None, float | None, float, object]]:
    return {(found.unit, found.limit, found.remaining, found.window, found.reset) for found in read(headers, **windows)}


NOON = {"date": "Fri, 27 Nov 2026 12:00:00 GMT"}
PROVIDERS: dict[
    str, tuple[dict[str, str], dict[str, float], set[tuple[str, float | None, float | None, float, object]]]
] = {
    "OpenAI, a day's requests": (
        {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "8.64s",
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-tokens": "190000",
            "x-ratelimit-reset-tokens": "3s",
        },
        {},
        {("requests", 10000, 9999, 86400, 8.64), ("tokens", 200000, 190000, 60, 3)},
    ),
    "OpenAI, the project's tokens beside the model's": (
        {
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "900",
            "x-ratelimit-reset-tokens": "6s",
            "x-ratelimit-limit-project-tokens": "5000",
            "x-ratelimit-remaining-project-tokens": "0",
            "x-ratelimit-reset-project-tokens": "60s",
            "x-ratelimit-limit-tokens_usage_based": "4000",
            "x-ratelimit-remaining-tokens_usage_based": "3000",
            "x-ratelimit-limit-input-images": "50000",
            "x-ratelimit-remaining-input-images": "49999",
        },
        {},
        {("tokens", 1000, 0, 60, 60)},
    ),
    "Azure": (
        {
            "x-ratelimit-limit-requests": "120",
            "x-ratelimit-remaining-requests": "118",
            "x-ratelimit-renewalperiod-requests": "10",
            "x-ratelimit-reset-requests": "1",
            "x-ratelimit-limit-tokens": "-1",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
            "x-ratelimit-abusepenalty-active": "False",
        },
        {},
        {("requests", 120, 118, 10, 1)},
    ),
    "Anthropic": (
        {
            **NOON,
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:02Z",
            "anthropic-ratelimit-input-tokens-limit": "30000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-27T12:01:00Z",
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-output-tokens-remaining": "7000",
            "retry-after": "59",
        },
        {},
        {
            ("requests", 50, 49, 60, 2),
            ("input_tokens", 30000, 0, 60, 60),
            ("output_tokens", 8000, 7000, 60, None),
        },
    ),
    "Groq": (
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14400",
            "x-ratelimit-reset-requests": "0s",
            "x-ratelimit-limit-tokens": "6000",
            "x-ratelimit-remaining-tokens": "5994",
            "x-ratelimit-reset-tokens": "60ms",
        },
        {"requests_window": 86400},
        {("requests", 14400, 14400, 86400, 0), ("tokens", 6000, 5994, 60, 0.06)},
    ),
    "Mistral": (
        {
            "x-ratelimit-limit-tokens-minute": "500000",
            "x-ratelimit-remaining-tokens-minute": "499000",
            "x-ratelimit-limit-req-minute": "100",
            "x-ratelimit-remaining-req-minute": "99",
            "x-ratelimit-limit-req-10-second": "60",
            "x-ratelimit-remaining-req-10-second": "59",
            "x-ratelimit-limit-tokens-month": "1000000000",
            "x-ratelimit-remaining-tokens-month": "999000000",
            "x-ratelimit-tokens-query-cost": "1000",
        },
        {},
        {
            ("tokens", 500000, 499000, 60, None),
            ("requests", 100, 99, 60, None),
            ("requests", 60, 59, 10, None),
            ("tokens", 1000000000, 999000000, 2592000, None),
        },
    ),
    "Mistral before": (
        {
            "ratelimitbysize-limit": "500000",
            "ratelimitbysize-remaining": "307190",
            "ratelimitbysize-reset": "46",
            "ratelimitbysize-query-cost": "32010",
            "x-ratelimitbysize-limit-minute": "500000",
            "x-ratelimitbysize-remaining-minute": "307190",
            "x-ratelimitbysize-limit-month": "1000000000",
            "x-ratelimitbysize-remaining-month": "997342940",
        },
        {},
        {("tokens", 500000, 307190, 60, 46), ("tokens", 1000000000, 997342940, 2592000, None)},
    ),
    "xAI": (
        {
            "x-ratelimit-limit-requests": "1800",
            "x-ratelimit-remaining-requests": "1799",
            "x-ratelimit-limit-tokens": "10000000",
            "x-ratelimit-remaining-tokens": "9999990",
        },
        {},
        {("requests", 1800, 1799, 60, None), ("tokens", 10000000, 9999990, 60, None)},
    ),
    "Together": (
        {
            "x-ratelimit-limit": "2",
            "x-ratelimit-remaining": "1",
            "x-ratelimit-reset": "2",
            "x-tokenlimit-limit": "3000",
            "x-tokenlimit-remaining": "0",
        },
        {"requests_window": 1, "tokens_window": 1},
        {("requests", 2, 1, 1, 2), ("tokens", 3000, 0, 1, None)},
    ),
    "Fireworks": (
        {
            "x-ratelimit-limit-tokens-prompt": "3600000",
            "x-ratelimit-remaining-tokens-prompt": "0",
            "x-ratelimit-limit-tokens-generated": "36000",
            "x-ratelimit-remaining-tokens-generated": "30000",
            "x-ratelimit-over-limit": "yes",
        },
        {},
        {("input_tokens", 3600000, 0, 60, None), ("output_tokens", 36000, 30000, 60, None)},
    ),
    "Cerebras": (
        {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-remaining-requests-day": "14000",
            "x-ratelimit-reset-requests-day": "33011.38",
            "x-ratelimit-limit-tokens-minute": "60000",
            "x-ratelimit-remaining-tokens-minute": "0",
            "x-ratelimit-reset-tokens-minute": "11.38",
        },
        {},
        {("requests", 14400, 14000, 86400, 33011.38), ("tokens", 60000, 0, 60, 11.38)},
    ),
    "Moonshot": (
        {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "19", "x-ratelimit-reset": "3"},
        {},
        {("requests", 20, 19, 60, 3)},
    ),
    "Cohere's trial keys": (
        {
            "x-trial-endpoint-call-limit": "40",
            "x-trial-endpoint-call-remaining": "37",
            "x-endpoint-monthly-call-limit": "1000",
        },
        {},
        {("requests", 40, 37, 60, None), ("requests", 1000, None, 2592000, None)},
    ),
    "OpenRouter, a time in milliseconds": (
        {**NOON, "x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795780860000"},
        {},
        {("requests", 20, 0, 60, 60)},
    ),
    "the IETF's draft": (
        {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "98", "ratelimit-reset": "5"},
        {},
        {("requests", 100, 98, 60, 5)},
    ),
    "proxies that blot values out": (
        {"x-ratelimit-limit-requests": "X-RATELIMIT-XXX", "x-ratelimit-remaining-requests": "", "retry-after": "5"},
        {},
        set(),
    ),
    "a window of no time": (
        {"x-ratelimit-limit-requests-0-minute": "5", "x-ratelimit-limit-0-minute": "5"},
        {},
        set(),
    ),
    "nothing of ours": (
        {"x-my-ratelimit-limit-requests": "5", "x-ratelimit-limit-widgets": "5", "content-length": "5"},
        {},
        set(),
    ),
}


def test_of_two_limits_for_one_unit_the_one_that_allows_less_comes_first() -> None:
    bursts = {"x-ratelimit-limit-req-10-second": "60", "x-ratelimit-limit-req-minute": "100"}
    assert [reading.window for reading in read(bursts)] == [60, 10]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_limits_of_each_provider_in_its_own_words(provider: str) -> None:
    headers, windows, expected = PROVIDERS[provider]
    found = readings(headers, **windows)
    assert {one[:4] for one in found} == {one[:4] for one in expected}
    resets = {one[:4]: one[4] for one in found}
    for one in expected:
        assert resets[one[:4]] == pytest.approx(one[4]), one

from __future__ import annotations

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

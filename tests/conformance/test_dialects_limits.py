"""Headers of recorded answers: whatever a provider says of its limits becomes readings, and never a failure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from catalogue.quirks import Quirks
from tests.conformance.recordings import ROOT, Exchange, exchanges, needs_recordings
from workers.dialects import DIALECTS
from workers.dialects.failures import classify
from workers.dialects.limits import read
from workers.dialects.port import Decoded

pytestmark = needs_recordings

SILENT = {"x-ratelimit-over-limit", "x-ratelimit-abusepenalty-active", "x-ratelimit-tokens-query-cost"}
"""Headers about limits that state no limit."""


def recorded_headers() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Provider and headers of every recorded answer, whatever the endpoint."""
    folder = ROOT / "open"
    for row in json.loads((folder / "index.json").read_text("utf-8")):
        response = json.loads((folder / row["file"]).read_text("utf-8"))["response"]
        yield (
            row["provider"],
            {
                name.lower(): str(value[-1] if isinstance(value, list) else value)
                for name, value in response["headers"].items()
            },
        )


def amounts(headers: Mapping[str, str]) -> list[str]:
    """The headers that state how much of something there is, or is left."""
    return [
        name
        for name, value in headers.items()
        if name.endswith("-call-remaining")
        or (
            "limit" in name
            and ("remaining" in name or name.endswith("-limit") or "limit-" in name.partition("rate")[2])
        )
        if name not in SILENT and "images" not in name and "reset" not in name and "renewal" not in name
        if value.isdecimal() and "query-cost" not in name
    ]


def test_every_recorded_limit_yields_a_reading(capsys: pytest.CaptureFixture[str]) -> None:
    told: Counter[str] = Counter()
    for provider, headers in recorded_headers():
        found = read(headers)
        if amounts(headers):
            assert found, f"{provider}: {amounts(headers)}"
            told[provider] += 1
            least = {float(headers[name]) for name in amounts(headers)}
            said = {value for one in found for value in (one.limit, one.remaining) if value is not None}
            assert said <= least, f"{provider}: {said - least} was never said"
        for one in found:
            assert one.limit is None or one.limit >= 0
            assert one.reset is None or 0 <= one.reset <= 31 * 86400
    with capsys.disabled():
        print(f"\nanswers with readings of limits: {dict(told)}")
    assert set(told) >= {"openai", "azure", "anthropic", "groq", "mistral", "xai", "together", "fireworks", "cohere"}


def test_a_wait_or_a_limit_beside_a_good_answer_is_no_failure() -> None:
    """68 of 754 good answers of one provider carry retry-after."""
    beside = {"retry-after": "59", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "59s"}
    good: list[Exchange] = [one for one in exchanges() if one.status < 300 and not one.is_failure][:60]
    for exchange in good:
        dialect = DIALECTS[exchange.dialect]
        decoder = dialect.decoder(exchange.target, content_type=exchange.headers.get("content-type", ""))
        assert dialect.limits(exchange.target, {**exchange.headers, **beside})
        decoder.feed(exchange.body)
        assert isinstance(decoder.finish(), Decoded), exchange.id


def test_the_wait_of_a_refusal_is_never_shorter_than_its_headers_say() -> None:
    for exchange in exchanges():
        wait = exchange.headers.get("retry-after", "")
        if exchange.status >= 300 and wait.isdecimal():
            found = classify(exchange.status, exchange.headers, exchange.body, DIALECT_FREE)
            assert found.retry_after is not None
            assert found.retry_after >= float(wait)


DIALECT_FREE = Quirks()

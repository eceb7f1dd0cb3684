"""How near our counts come to the usage that providers reported for recorded prompts.

The recorded prompts are short, so the errors are told in tokens: of a long prompt the words around it are nothing, and
what its vocabulary makes of it is told by the large ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from statistics import median
from typing import NamedTuple

import pytest

from catalogue.tokens import facts_of
from job_contracts.chat import Conversation
from tests.conformance.recordings import Exchange, exchanges, needs_recordings
from tests.conformance.test_dialects_requests import translated
from workers.dialects import tokens
from workers.dialects.calibration import Calibration
from workers.vocabularies import CHARACTERS, Counter, counter

pytestmark = needs_recordings

HELD: Mapping[str, tuple[float, float]] = {
    # provider: median and 90th percentile of the error in tokens, at most
    "anthropic": (22, 200),
    "azure": (4, 145),
    "bedrock": (4, 160),
    "cerebras": (5, 130),
    "deepseek": (15, 35),
    "gemini": (20, 55),
    "groq": (35, 125),
    "mistral": (6, 12),
    "openai": (4, 90),
    "openrouter": (22, 80),
    "xai": (65, 330),
    "zhipu": (16, 28),
}
LARGE = 1_000
"""Tokens from which on a prompt tells how good its vocabulary and ratio are."""


class Counted(NamedTuple):
    """One recorded prompt: what was reported, and what we count."""

    provider: str
    model: str
    reported: int
    counted: float
    estimated: float


def whole(conversation: Conversation, by: Counter) -> float:
    pieces = tokens.pieces(conversation)
    return sum(by.count(piece) if isinstance(piece, str) else piece for _, piece in pieces)


def expected(exchange: Exchange, conversation: Conversation, by: Counter) -> float:
    target = exchange.target
    start = Calibration(facts_of(target.provider, target.model), tools=bool(conversation.tools), margin=by.margin)
    return start.expected(whole(conversation, by))


@cache
def counted() -> tuple[Counted, ...]:
    return tuple(_counted())


def _counted() -> Iterator[Counted]:
    for exchange in exchanges():
        usage = (exchange.expected.get("expected") or {}).get("usage") or {}
        if exchange.is_failure or not exchange.request or not usage.get("input"):
            continue
        found = translated(exchange)
        if isinstance(found, str) or tokens.has_media(found.conversation):
            continue
        facts = facts_of(exchange.target.provider, exchange.target.model)
        exact, rough = (expected(exchange, found.conversation, by) for by in (counter(facts.vocabulary), CHARACTERS))
        yield Counted(exchange.provider, exchange.model, usage["input"], exact, rough)


def high(errors: list[float]) -> float:
    return sorted(errors)[int(0.9 * (len(errors) - 1) + 0.5)]


def test_counts_come_as_near_to_what_providers_reported_as_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    by_provider: dict[str, list[Counted]] = defaultdict(list)
    for one in counted():
        by_provider[one.provider].append(one)
    lines, worse = [], []
    for provider, found in sorted(by_provider.items()):
        errors = [abs(one.counted - one.reported) for one in found]
        rough = [abs(one.estimated - one.reported) for one in found]
        lines.append(
            f"{provider:<18}{len(found):>4} prompts, reported {median(one.reported for one in found):>5.0f}"
            f" · error by vocabulary {median(errors):>5.0f} (90 %: {high(errors):>4.0f})"
            f" · by characters {median(rough):>5.0f} (90 %: {high(rough):>4.0f})"
        )
        most = HELD.get(provider)
        if most is not None and (median(errors) > most[0] or high(errors) > most[1]):
            worse.append(f"{provider}: {median(errors):.0f} and {high(errors):.0f}, at most {most[0]} and {most[1]}")
    with capsys.disabled():
        print("\ntokens of recorded prompts:\n  " + "\n  ".join(lines))
    assert not worse, "\n".join(worse)
    assert sum(map(len, by_provider.values())) >= 200


def test_long_prompts_are_counted_within_a_fifth(capsys: pytest.CaptureFixture[str]) -> None:
    found = [one for one in counted() if one.reported >= LARGE]
    off = [abs(one.counted / one.reported - 1) for one in found]
    with capsys.disabled():
        print(
            f"\n{len(found)} prompts of {LARGE} tokens and more: median error {median(off):.1%}, worst {max(off):.1%}"
        )
    assert median(off) < 0.05
    assert high(off) < 0.5

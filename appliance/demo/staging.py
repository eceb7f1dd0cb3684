"""The scene of the tour: how fast the simulated providers are, which limit is tight, which routes there are."""

from __future__ import annotations

from typing import Any

LIMITED, FAILING, LOSING = "gemini", "openai", "anthropic"
"""The provider with the tight limit, the one that goes down, and the one whose worker is killed."""

LIMIT, WINDOW = 40, 10.0
"""Requests in any so many seconds that the limited provider answers; one more and it answers 429."""

STORY = "story"
STORY_TOKENS, STORY_PACE = 110, 40

THRIFTY, CAP, CAPPED_ROUTE = "thrifty", "0.002", "capped"
"""The project with a small hard budget, that budget in US dollars, and the route that its jobs take."""

PRICES: dict[str, dict[str, dict[str, str]]] = {
    "openai": {
        "gpt-5-mini": {"input": "0.25", "cached_read": "0.025", "output": "2"},
        "gpt-5": {"input": "1.25", "cached_read": "0.125", "output": "10"},
        "gpt-4.1-mini": {"input": "0.4", "cached_read": "0.1", "output": "1.6"},
    },
    "anthropic": {
        "claude-haiku-4-5": {"input": "1", "cached_read": "0.1", "cache_write": "1.25", "output": "5"},
        "claude-sonnet-4-5": {"input": "3", "cached_read": "0.3", "cache_write": "3.75", "output": "15"},
    },
    "gemini": {
        "gemini-2.5-flash": {"input": "0.3", "cached_read": "0.03", "output": "2.5"},
        "gemini-2.5-pro": {"input": "1.25", "cached_read": "0.125", "output": "10"},
    },
}
"""What the simulated providers charge: the real ones' prices, as the catalogue has them (a test holds it to that)."""


def _charging(provider: str, **more: Any) -> dict[str, Any]:
    return {"models": {model: {"price": price, **more} for model, price in PRICES[provider].items()}}


SIMULATED: dict[str, dict[str, Any]] = {
    "openai": {
        "pace": {"ttft": 0.22, "tokens_per_second": 160, "jitter": 0.5},
        "answer": {"shortest": 20, "longest": 90},
        **_charging("openai"),
    },
    "anthropic": {
        "pace": {"ttft": 0.35, "tokens_per_second": 110, "jitter": 0.5},
        "answer": {"shortest": 20, "longest": 110},
        **_charging("anthropic"),
    },
    "gemini": {
        "pace": {"ttft": 0.15, "tokens_per_second": 220, "jitter": 0.5},
        "answer": {"shortest": 20, "longest": 80},
        # One window for all of its models together, looking back exactly so many seconds: the strictest kind there is.
        "limits": {"requests": LIMIT, "period": WINDOW, "window": "sliding"},
        **_charging("gemini", group="all"),
    },
}

OVER: dict[str, Any] = {
    "providers": {LIMITED: {"key": "simulated", "limits": {"rpm": LIMIT * 60 / WINDOW, "window": WINDOW}}},
    "routes": {
        "fast": {"deployments": ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"]},
        "smart": {"deployments": ["anthropic/claude-sonnet-4-5", "openai/gpt-5", "gemini/gemini-2.5-pro"]},
        # Only the limited provider: these jobs wait for its limit, where a proxy would hand out 429.
        "cheap": {"deployments": ["gemini/gemini-2.5-flash"]},
        "precise": {"deployments": ["openai/gpt-4.1-mini", "gemini/gemini-2.5-flash"]},
        STORY: {"deployments": [f"anthropic/claude-haiku-4-5+tokens={STORY_TOKENS}+tps={STORY_PACE}+ttft=0.3"]},
        CAPPED_ROUTE: {"deployments": ["openai/gpt-5-mini"]},
    },
    "projects": {"demo": {}, THRIFTY: {"routes": [CAPPED_ROUTE], "budget": {"total": CAP}}},
    # A worker that is killed is missed after three seconds instead of ten: the tour is short.
    "scheduler": {"beat_missed": 3.0, "breaker": {"failures": 3, "open_for": 1.0, "max_open": 4.0}},
    "workers": {"beat_every": 0.5},
}
"""What the tour's configuration has that the built-in one has not."""

"""What a fleet under fire is made of: providers with limits, routes over them, projects, and how quick it all is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from appliance.users import project_user
from catalogue.load import providers as catalogue_rows
from runtime.broker_accounts import BrokerUser
from tests.e2e.faults.chaos_plan import PROJECTS
from tests.e2e.faults.events import LimitTold

SERVICE, PASSWORD = "service", "service-password"
WINDOW, SKEW, BURST = 10.0, 3.0, 0.1
"""Of every limit: seconds, seconds, share. A busy machine is late now and then; ``skew`` is what a limit forgives."""


@dataclass(frozen=True, slots=True)
class Place:
    """A provider: its dialect and model, tokens a second, the calls it takes in ``WINDOW`` seconds, and at once."""

    dialect: str
    model: str
    pace: float
    calls: int | None = None
    tokens: int | None = None
    at_once: int | None = None


PLACES: Mapping[str, Place] = {
    "alpha": Place("openai", "gpt-4.1-mini", 200.0, calls=150),
    "beta": Place("anthropic", "claude-haiku-4-5", 100.0, calls=150, at_once=24),
    "gamma": Place("gemini", "gemini-2.5-flash", 60.0, tokens=40_000),
    "delta": Place("openai", "gpt-4.1-mini", 20.0),
}
ROUTES: Mapping[str, tuple[str, ...]] = {
    "fast": ("alpha", "beta", "delta"),
    "smart": ("beta", "gamma", "alpha"),
    "cheap": ("gamma", "delta"),
    "solo": ("delta",),
}


def project_key(project: str) -> str:
    """The key of a project; these runs stay on loopback and are gone at the end."""
    return f"psk_{project}_{'0123456789abcdef' * 2}"


def users() -> tuple[BrokerUser, ...]:
    """The services' login and one for each project, with the permissions that users have."""
    service = BrokerUser(name=SERVICE, password=SecretStr(PASSWORD))
    return (service, *(project_user(project, SecretStr(project_key(project))) for project in PROJECTS))


def simulator_settings() -> dict[str, Any]:
    """Providers at a realistic pace that enforce what they tell, and remember every call."""
    return {"log_size": 1_000_000, "longest_hold": 60.0, "providers": [_simulated(*one) for one in PLACES.items()]}


def _simulated(name: str, place: Place) -> dict[str, Any]:
    (price,) = catalogue_rows()[place.dialect].prices(place.model)
    told = {"requests": place.calls, "tokens": place.tokens, "concurrency": place.at_once}
    return {
        "name": name,
        "dialect": place.dialect,
        # What the catalogue says, so that money is the same on both sides.
        "price": {
            "input": str(price.input),
            "cached_read": str(price.cache_read),
            "cache_write": str(price.cache_write or price.input),
            "output": str(price.output),
        },
        "pace": {"latency": 0.03, "ttft": 0.06, "tokens_per_second": place.pace, "jitter": 0.5},
        "limits": {"period": WINDOW, "window": "sliding", **{key: value for key, value in told.items() if value}},
    }


def limits_told() -> tuple[LimitTold, ...]:
    """The limits on calls, for the checker."""
    return tuple(
        LimitTold(provider=name, amount=place.calls, window=WINDOW, burst=BURST, skew=SKEW)
        for name, place in PLACES.items()
        if place.calls
    )


def configuration(base_urls: Mapping[str, str], *, lease: float, beat_missed: float) -> dict[str, Any]:
    """The operator's file; the broker's address comes by command line."""
    rows = catalogue_rows()
    providers = {
        name: {
            "catalogue": place.dialect,
            "base_url": base_urls[name] + urlsplit(rows[place.dialect].base_url).path,
            "key": "simulated",
            "slots": 64,
            "limits": _limits(place),
        }
        for name, place in PLACES.items()
    }
    routes = {
        name: {
            "deployments": [f"{place}/{PLACES[place].model}" for place in places],
            "timeouts": {"ttft": "5s", "stall": "4s", "total": "20s"},
            "expected_output": 40,
        }
        for name, places in ROUTES.items()
    }
    return {
        "providers": providers,
        "routes": routes,
        "projects": {project: {"retry_share": 1.0} for project in PROJECTS},
        "nats": {"user": SERVICE, "password": PASSWORD, "replicas": 3, "max_queue_bytes": 256 * 1024**2},
        "scheduler": {
            "lease": lease,
            "renew": lease / 4,
            "beat_missed": beat_missed,
            "reconcile_every": 5.0,
            "breaker": {"failures": 5, "open_for": 1.0, "max_open": 8.0},
        },
        "workers": {"beat_every": min(2.0, beat_missed / 4), "drain": 5.0},
    }


def _limits(place: Place) -> dict[str, Any]:
    per_minute = 60.0 / WINDOW
    told = {
        "rpm": place.calls and place.calls * per_minute,
        "tpm": place.tokens and place.tokens * per_minute,
        "concurrency": place.at_once,
    }
    return {"window": WINDOW, "skew": SKEW, "burst": BURST, **{key: value for key, value in told.items() if value}}

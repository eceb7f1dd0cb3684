"""What services must agree on: equal where values are, apart where they are not, and made of no secret."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from job_contracts.codec import decode, encode
from job_contracts.configured import Configured
from runtime import agreed
from runtime.agreed import OWN, configured
from runtime.config import parse
from runtime.settings import Config

FULL: dict[str, Any] = {
    "providers": {
        "openai": {
            "key": "k",
            "limits": {"rpm": 500, "concurrency": 7},
            "domains": {
                "big": {"models": ["gpt-5*"], "limits": {"tpm": 1000}},
                "small": {"models": ["o*"], "limits": {}},
            },
        },
        "own": {"dialect": "openai_chat", "base_url": "http://u:pw@own.example/v1?token=t", "key": "k"},
    },
    "routes": {
        "fast": {
            "strategy": "weighted",
            "deployments": ["openai/gpt-5-mini", "own/small"],
            "weights": {"own/small": 2},
            "timeouts": {"ttft": "8s"},
            "on_switch": [{"to": "own/*", "system": {"append": "See https://a.example/?page=1, please."}}],
        },
        "slow": {"deployments": ["own/large"], "budget": {"day": "10.50"}},
    },
    "projects": {"default": {}, "acme": {"routes": ["fast"], "budget": {"day": 5}, "tags": {"team=a": {"hour": 1}}}},
    "nats": {"url": "nats://u:pw@127.0.0.1:1", "password": "pw", "replicas": 3},
    "scheduler": {"lease": 4, "lanes": {"rt": {"share": 0.5}, "std": {"share": 0.5}}},
    "gateway": {"pepper": "p", "keys": {"first": {"project": "acme", "hash": "a" * 64}}},
    "ledger": {"database": "postgresql://u:pw@db/x", "alerts": {"webhook": "https://hooks.example/x", "secret": "s"}},
}


def told(values: Mapping[str, Any], **environ: str) -> Configured:
    return configured(parse(yaml.safe_dump(dict(values), sort_keys=False), environ=environ))


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The full configuration with another value at one place."""
    values = copy.deepcopy(FULL)
    at: Any = values
    for name in path[:-1]:
        at = at[name] if isinstance(name, int) else at.setdefault(name, {})
    at[path[-1]] = to
    return values


def shuffled(value: Any, data: st.DataObject) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], data) for key in data.draw(st.permutations(list(value)))}
    return [shuffled(one, data) for one in value] if isinstance(value, list) else value


def spelt(value: Any, path: str, environ: dict[str, str], data: st.DataObject) -> Any:
    """The same values, some of them by way of variables."""
    if isinstance(value, dict):
        return {key: spelt(one, f"{path}_{key}", environ, data) for key, one in value.items()}
    if isinstance(value, list):
        return [spelt(one, f"{path}_{place}", environ, data) for place, one in enumerate(value)]
    if isinstance(value, str) and data.draw(st.booleans()):
        name = "V" + "".join(one if one.isalnum() else "_" for one in path)
        environ[name] = value
        return f"${{{name}}}" if data.draw(st.booleans()) else f"${{{name}:-other}}"
    return value


def defaults(model: BaseModel) -> dict[str, Any]:
    """Every value, those that nobody gave as well, as somebody would write them."""
    found: dict[str, Any] = json.loads(model.model_dump_json())
    return found


@settings(max_examples=40)
@given(data=st.data())
def test_equal_values_have_equal_fingerprints_in_whatever_order_and_from_wherever(data: st.DataObject) -> None:
    environ: dict[str, str] = {}
    draw = data.draw
    other = spelt(shuffled(FULL, data), "", environ, data)
    flow = draw(st.sampled_from([True, False, None]))
    text = yaml.safe_dump(
        other, sort_keys=draw(st.booleans()), default_flow_style=flow, width=draw(st.integers(20, 200))
    )
    assert configured(parse(text, environ=environ)) == told(FULL)


def test_a_default_that_somebody_wrote_down_makes_no_difference() -> None:
    config = parse(yaml.safe_dump(FULL))
    routes = {name: defaults(route) for name, route in config.routes.items()}
    projects = {name: defaults(project) for name, project in config.projects.items()}
    written = {**FULL, "routes": routes, "projects": projects, "scheduler": defaults(config.scheduler)}
    assert told(written) == told(FULL)


def test_what_is_as_it_comes_is_not_told() -> None:
    least = {"providers": {"openai": {}}, "routes": {"fast": {"deployments": ["openai/m"]}}}
    assert set(told(least).parts) == {"providers", "routes"}
    assert told({**least, "nats": {"replicas": 1, "password": "x"}, "projects": {"default": {}}}) == told(least)


@pytest.mark.parametrize(
    ("path", "to", "part"),
    [
        (("providers", "openai", "limits", "rpm"), 501, "providers"),
        (("providers", "openai", "domains", "big", "models"), ["gpt-4*"], "providers"),
        (("providers", "own", "base_url"), "http://u:pw@other.example/v1?token=t", "providers"),
        (("providers", "third"), {"dialect": "openai_chat", "base_url": "http://x"}, "providers"),
        (("routes", "fast", "deployments"), ["own/small", "openai/gpt-5-mini"], "routes"),
        (("routes", "fast", "timeouts"), {"ttft": "9s"}, "routes"),
        (("routes", "fast", "on_switch", 0, "system", "append"), "See https://a.example/?page=2, please.", "routes"),
        (("routes", "slow", "budget", "day"), "10.51", "routes"),
        (("projects", "acme", "weight"), 2, "projects"),
        (("projects", "acme", "zero_retention"), True, "projects"),
        (("nats", "result_ttl"), 100_000, "nats"),
        (("scheduler", "grant_valid"), 6, "scheduler"),
    ],
)
def test_another_value_is_another_fingerprint_and_the_part_is_named(
    path: tuple[str | int, ...], to: Any, part: str
) -> None:
    ours, theirs = told(FULL), told(changed(*path, to=to))
    assert ours.apart(theirs) == theirs.apart(ours) == (part,)
    assert ours.fingerprint != theirs.fingerprint


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("providers", "openai", "slots"), 9),
        (("nats", "url"), "nats://elsewhere:4222"),
        (("nats", "manage"), "validate"),
        (("scheduler", "max_indexed"), 1_000),
        (("gateway", "timeout"), 5),
        (("workers", "drain"), 5),
        (("ledger", "keep_days"), 50),
        (("console", "every"), 5),
        (("telemetry", "traces"), {}),
        (("catalogue",), "elsewhere"),
    ],
)
def test_what_may_differ_by_service_makes_no_difference(path: tuple[str, ...], to: Any) -> None:
    assert told(changed(*path, to=to)) == told(FULL)


SECRETS: tuple[tuple[str, ...], ...] = (
    ("providers", "openai", "key"),
    ("providers", "own", "key"),
    ("nats", "password"),
    ("gateway", "pepper"),
    ("ledger", "alerts", "secret"),
)


@settings(max_examples=40)
@given(path=st.sampled_from(SECRETS), secret=st.text("abc09 -_", max_size=20))
def test_no_secret_has_an_influence_whether_it_is_set_or_not(path: tuple[str, ...], secret: str) -> None:
    assert told(changed(*path, to=secret)) == told(FULL)


LETS_IN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gateway", "admin_hash"), "b" * 64),
    (("gateway", "keys", "first", "hash"), "b" * 64),
    (("ledger", "alerts", "webhook"), "https://hooks.example/other"),
    (("ledger", "database"), "postgresql://u:other@db/x"),
    (("providers", "own", "base_url"), "http://u2:other@own.example/v1?token=other"),
    (("nats", "url"), "nats://u2:other@127.0.0.1:1"),
)


@pytest.mark.parametrize(("path", "to"), LETS_IN)
def test_nor_has_what_lets_somebody_in_without_being_a_secret_by_its_type(path: tuple[str, ...], to: str) -> None:
    assert told(changed(*path, to=to)) == told(FULL)


@pytest.mark.parametrize(("path", "to"), [*LETS_IN, *((path, "other") for path in SECRETS)])
def test_nor_would_they_if_every_section_counted(
    path: tuple[str, ...], to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreed, "OWN", frozenset())
    assert "gateway" in told(FULL).parts
    assert told(changed(*path, to=to)) == told(FULL)


def test_a_process_that_does_not_read_the_others_secrets_agrees_with_one_that_does(tmp_path: Path) -> None:
    text = yaml.safe_dump(FULL)
    read, unread = parse(text, folder=tmp_path), parse(text, folder=tmp_path, credentials_of=())
    assert read != unread
    assert configured(read) == configured(unread)


def test_no_value_can_be_read_from_what_is_told() -> None:
    said = encode(configured(parse(yaml.safe_dump(FULL)), 5.0)).decode()
    parts = json.loads(said)["parts"]
    assert set(parts) == {"providers", "routes", "projects", "nats", "scheduler"}
    assert all(len(digest) == 8 and set(digest) <= set("0123456789abcdef") for digest in parts.values())


def _places(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[str]:
    """The places of settings, those in mappings as ``*``, as far as ``OWN`` needs them."""
    for name, field in model.model_fields.items():
        yield ".".join((*above, name))
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                within = (*above, name) if kind is field.annotation else (*above, name, "*")
                yield from _places(kind, within)


def test_what_may_differ_is_there() -> None:
    assert set(_places(Config)) >= OWN


def test_an_older_reader_and_an_older_writer_are_borne() -> None:
    ours = told(FULL)
    assert decode(Configured, '{"parts":{"routes":"0","later":"1"},"since":1,"more":[1]}').parts["later"] == "1"
    assert decode(Configured, "{}").apart(ours) == tuple(sorted(ours.parts))
    assert decode(Configured, encode(ours)) == ours

"""The package itself: light to import, the same surface twice, typed events at hand."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import producer_sdk
from job_contracts import stream
from producer_sdk import JobHandle, JobStream, Producer, SyncJobHandle, SyncJobStream, SyncProducer
from producer_sdk.connecting import project_of

ROOT = Path(__file__).parents[3]


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_loads_neither_pydantic_nor_nats() -> None:
    loaded = _modules_after("import producer_sdk")
    assert not loaded & {"pydantic", "nats", "asyncio", "ssl"}


def test_importing_the_producer_does_not_load_nats_or_the_command() -> None:
    loaded = _modules_after("from producer_sdk import Producer, SyncProducer, Token, JobFailed")
    assert not loaded & {"nats", "typer", "rich", "sqlite3", "producer_sdk.testing"}


def test_names_are_listed_loaded_once_and_complete() -> None:
    assert set(producer_sdk.__all__) <= set(dir(producer_sdk))
    assert producer_sdk.Producer is Producer
    events = {event.__name__ for event in get_args(stream.StreamEvent)}
    assert events <= set(producer_sdk.__all__)
    with pytest.raises(AttributeError):
        _ = producer_sdk.Nonsense


def _surface(kind: type) -> dict[str, inspect.Signature | None]:
    return {
        name: inspect.signature(thing) if inspect.isfunction(thing) else None
        for name, thing in vars(kind).items()
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("asynchronous", "blocking", "renamed"),
    [
        (Producer, SyncProducer, {}),
        (JobHandle, SyncJobHandle, {}),
        (JobStream, SyncJobStream, {"aclose": "close"}),
    ],
)
def test_the_blocking_twin_has_the_same_surface(asynchronous: type, blocking: type, renamed: dict[str, str]) -> None:
    there, here = _surface(asynchronous), _surface(blocking)
    assert {renamed.get(name, name) for name in there} <= set(here) | {"job", "timeout"}
    for name, signature in there.items():
        other = here.get(renamed.get(name, name))
        if signature is not None and other is not None:
            assert list(other.parameters) == list(signature.parameters), name
            defaults = {p.name: p.default for p in signature.parameters.values()}
            assert {p.name: p.default for p in other.parameters.values()} == defaults, name


def test_both_producers_are_made_with_the_same_arguments() -> None:
    there = inspect.signature(Producer).parameters
    here = inspect.signature(SyncProducer).parameters
    assert list(here) == list(there)
    assert [here[name].default for name in here] == [there[name].default for name in there]


@pytest.mark.parametrize(
    ("key", "project", "expected"),
    [
        ("psk_research_abc", None, "research"),
        ("psk_my_team-1_abc", None, "my_team-1"),
        ("psk_research_abc", "research", "research"),
        (None, "research", "research"),
        (None, None, "default"),
        ("", None, "default"),
    ],
)
def test_a_key_names_its_project(key: str | None, project: str | None, expected: str) -> None:
    assert project_of(key, project) == expected


def test_the_environment_is_read_only_where_an_argument_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_URL", "nats://environment:1")
    monkeypatch.setenv("PENSTOCK_KEY", "psk_environment_x")
    assert Producer().project == "environment"
    assert Producer(key="psk_argument_x").project == "argument"
    assert Producer(key="").project == "default"
    assert Producer("nats://argument:1")._transport._servers == ["nats://argument:1"]  # type: ignore[attr-defined]
    assert Producer()._transport._servers == ["nats://environment:1"]  # type: ignore[attr-defined]

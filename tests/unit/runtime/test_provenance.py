"""Where the configuration's values come from: one source each, and never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from job_contracts.codec import dotted
from runtime.config import parse
from runtime.provenance import SOURCES, Place, Row, Source, explained
from runtime.settings import Config

CANARY = "canary-5f1d"
TEXT = """\
providers:
  openai: {key: "${OPENAI_API_KEY}", limits: &shared {rpm: 500}}
  own:
    dialect: openai_chat
    base_url: "${BASE}"
    key: "${file:own.key}"
    limits: {<<: *shared, concurrency: "${CALLS:-7}"}
routes:
  fast: {deployments: [openai/gpt-5-mini, "own/${MODEL:-small}"], timeouts: {ttft: 8s}}
nats:
  url: "nats://service:canary-5f1d@broker:4222?token=canary-5f1d"
  password: canary-5f1d
gateway: {pepper: "${PEPPER:-}", keys: {first: {project: default, hash: "%s"}}}
ledger: {alerts: {webhook: "https://hooks.example/canary-5f1d"}}
""" % ("ab" * 32)
ENVIRON = {"OPENAI_API_KEY": CANARY, "BASE": f"http://{CANARY}.example/v1", "PEPPER": CANARY}


def leaves(value: Any, path: Place = ()) -> list[str]:
    """The places of all values, as a person would list them."""
    parts: list[tuple[str | int, Any]]
    if isinstance(value, BaseModel):
        parts = [(field, getattr(value, field)) for field in type(value).model_fields]
    elif isinstance(value, dict) and value:
        parts = list(value.items())
    elif isinstance(value, tuple | list) and value:
        parts = list(enumerate(value))
    else:
        return [dotted(path)]
    return [leaf for name, one in parts for leaf in leaves(one, (*path, name))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.key").write_text(f"{CANARY}\n", encoding="utf-8")
    return tmp_path


def rows(folder: Path, over: dict[Place, tuple[Source, str]] | None = None) -> dict[str, Row]:
    config = parse(TEXT, name="penstock.yaml", folder=folder, environ=ENVIRON)
    return {row.path: row for row in explained(config, TEXT, name="penstock.yaml", environ=ENVIRON, over=over)}


@pytest.mark.parametrize(
    ("path", "value", "source", "place"),
    [
        ("providers.openai.key", "set, not shown", "environment", (":2", ("${OPENAI_API_KEY}",))),
        ("providers.openai.limits.rpm", "500", "file", (":2", ())),
        ("providers.openai.limits.window", "60", "default", ("", ())),
        ("providers.own.dialect", "openai_chat", "file", (":4", ())),
        ("providers.own.base_url", "set, not shown", "environment", (":5", ("${BASE}",))),
        ("providers.own.key", "set, not shown", "secret file", (":6", ("${file:own.key}",))),
        ("providers.own.limits.rpm", "500", "file", (":2", ())),
        ("providers.own.limits.concurrency", "7", "file", (":7", ("${CALLS}",))),
        ("routes.fast.deployments[1]", "own/small", "file", (":9", ("${MODEL}",))),
        ("routes.fast.timeouts.first_token", "8", "file", (":9", ())),
        ("routes.fast.timeouts.total", "600", "default", ("", ())),
        ("nats.url", "nats://…@broker:4222?…", "file", (":11", ())),
        ("nats.password", "set, not shown", "file", (":12", ())),
        ("gateway.keys.first.hash", "set, not shown", "file", (":13", ())),
        ("ledger.alerts.webhook", "set, not shown", "file", (":14", ())),
        ("projects.default.weight", "1", "default", ("", ())),
        ("gateway.callout", "none", "default", ("", ())),
    ],
)
def test_a_value_says_where_it_is_from(
    folder: Path, path: str, value: str, source: str, place: tuple[str, tuple[str, ...]]
) -> None:
    row = rows(folder)[path]
    assert (row.value, row.source, (row.where.removeprefix("penstock.yaml"), row.names)) == (value, source, place)


def test_what_is_from_elsewhere_says_so(folder: Path) -> None:
    found = rows(
        folder, {("nats", "url"): ("command line", "--nats"), ("gateway", "keys", "first"): ("access file", "e.json")}
    )
    assert (found["nats.url"].source, found["nats.url"].where) == ("command line", "--nats")
    assert {row.source for path, row in found.items() if path.startswith("gateway.keys.first.")} == {"access file"}


def test_a_key_that_is_not_read_here_names_its_variable_all_the_same(folder: Path) -> None:
    config = parse(TEXT, name="c", folder=folder, environ={"BASE": "http://b"}, credentials_of=())
    found = {row.path: row for row in explained(config, TEXT, name="c", environ={})}
    assert found["providers.openai.key"].value == "empty here, or not read by this process"
    assert (found["providers.openai.key"].source, found["providers.openai.key"].names) == (
        "environment",
        ("${OPENAI_API_KEY}",),
    )


def test_no_secret_is_in_any_row(folder: Path) -> None:
    told = str(list(rows(folder).values()))
    assert CANARY not in told
    assert "ab" * 32 not in told


def test_without_a_file_everything_is_told_as_given_or_default() -> None:
    config = Config.model_validate({"providers": {"openai": {}}, "routes": {"r": {"deployments": ["openai/x"]}}})
    found = {row.path: row for row in explained(config, "", name="", environ={})}
    assert (found["routes.r.deployments[0]"].source, found["routes.r.deployments[0]"].where) == ("file", "")
    assert found["routes.r.strategy"].source == "default"


_words = st.sampled_from(["plain", "${SET}", "${SET:-x}", "${UNSET:-plain}", "a ${SET} b", "$${NO}"])
_limits = st.fixed_dictionaries(
    {}, optional={"rpm": st.sampled_from([5, "${NUMBER}", "${UNSET:-3}"]), "concurrency": st.integers(1, 9)}
)
_configs = st.fixed_dictionaries(
    {
        "providers": st.fixed_dictionaries(
            {"openai": st.fixed_dictionaries({"key": _words}, optional={"limits": _limits, "region": _words})}
        ),
        "routes": st.dictionaries(
            st.sampled_from(["a", "b.c"]),
            st.fixed_dictionaries(
                {"deployments": st.just(["openai/x", "openai/y"])},
                optional={
                    "timeouts": st.sampled_from([{"ttft": "8s"}, {"total": 3}]),
                    "budget": st.just({"day": "5"}),
                    "on_switch": st.just([{"to": "openai/*", "system": {"append": "${SET}"}}]),
                },
            ),
            min_size=1,
        ),
    },
    optional={
        "nats": st.fixed_dictionaries({}, optional={"password": _words, "user": _words}),
        "console": st.fixed_dictionaries({}, optional={"every": st.sampled_from([2, "${NUMBER}"])}),
    },
)


@settings(max_examples=60, deadline=None)
@given(values=_configs)
def test_every_value_has_one_source_and_no_secret_is_told(values: dict[str, Any]) -> None:
    environ = {"SET": CANARY, "NUMBER": "4"}
    text = yaml.safe_dump(values)
    config = parse(text, environ=environ)
    found = explained(config, text, name="f", environ=environ)
    assert [row.path for row in found] == leaves(config)
    assert CANARY not in str(found)
    for row in found:
        assert row.source in SOURCES
        assert bool(row.where) == (row.source != "default"), row
        assert row.names or row.source in {"default", "file"}, row

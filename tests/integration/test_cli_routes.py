"""``penstock jobs explain`` and ``penstock routes``: as processes of their own where they ask the broker."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from job_contracts.codec import encode
from job_contracts.decisions import Choice, Weighed
from job_contracts.desk import Estimate, Planned
from producer_sdk.testing import fails, says
from tests.support.cli import Done, invoke
from tests.support.commands import ROOT, ended, penstock
from tests.support.houses import NatsHouse
from tests.support.sdk import over_nats, sdk_broker  # noqa: F401  # fixtures
from tests.unit.scheduler_whatif.told import fact

CONFIG = """
providers:
  alpha: {{dialect: openai_chat, base_url: "http://127.0.0.1:1", key: k, region: us-east-1{alpha}}}
  beta: {{dialect: openai_chat, base_url: "http://127.0.0.1:1", key: k, region: eu-west-1}}
routes:
  r: {{deployments: [{places}], strategy: {strategy}}}
projects:
  p: {{}}
"""


def config(path: Path, places: str = "alpha/m, beta/m", strategy: str = "ordered", alpha: str = "") -> Path:
    path.write_text(CONFIG.format(places=places, strategy=strategy, alpha=alpha))
    return path


async def alone(*words: str) -> Done:
    """As a process, without a broker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK")}  # noqa: TID251
    return await ended(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "producer_sdk.cli", *words),
            cwd=ROOT,
            env={**environment, "COLUMNS": "200"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )


async def test_jobs_explain_tells_in_words_and_in_json(over_nats: NatsHouse) -> None:
    over_nats.stage.script.append(says("better", after=(fails("server_error", "no luck"),)))
    assert (await penstock(over_nats, "submit", "-m", "fast", "Hello", "--wait")).code == 0
    job = over_nats.stage.received[-1].job.id
    words = await penstock(over_nats, "jobs", "explain", job)
    assert words.code == 0
    assert words.out.startswith(f"{job}: answered by fake/fake-1, attempt 2\n")
    assert "server_error: no luck" in words.out
    told = (await penstock(over_nats, "jobs", "explain", job, "--json")).json
    assert (told["id"], told["state"], len(told["attempts"])) == (job, "succeeded", 2)
    assert (await penstock(over_nats, "jobs", "explain", "nobody-knows")).code == 3


async def test_routes_simulate_asks_the_leader_and_shows_its_decision(over_nats: NatsHouse) -> None:
    asked: list[Planned] = []

    def price(planned: Planned) -> Estimate:
        asked.append(planned)
        weighed = (Weighed(deployment="a/m", against="pool a has no live workers"), Weighed(deployment="b/m"))
        return Estimate(
            expected=Decimal("0.25"), decision=Choice(strategy="ordered", deployment="b/m", weighed=weighed)
        )

    over_nats.stage.price = price
    words = ("routes", "simulate", "fast", "--input-tokens", "50", "--needs", "tools,images", "--lane", "rt")
    shown = await penstock(over_nats, *words, "--session", "s", "--constraints", '{"residency": ["eu-*"]}')
    assert (shown.code, shown.err) == (0, "")
    assert "likely to cost: 0.25 USD" in shown.out
    assert "pool a has no live workers" in shown.out
    one = asked[0]
    assert (one.input_estimate, one.needs, one.lane, one.session, one.explain) == (
        *(50, ("tools", "images"), "rt", "s", True),
    )
    told = await penstock(over_nats, "routes", "simulate", "fast", "Hello there", "--json")
    assert told.json["decision"]["deployment"] == "b/m"
    wrong = invoke("routes", "simulate", "fast", "--needs", "wings", "--json", PENSTOCK_URL=over_nats.url)
    assert wrong.code == 2
    late = invoke("routes", "simulate", "fast", "--at", "2026-01-01", PENSTOCK_URL=over_nats.url)
    assert (late.code, "--offline" in late.err) == (2, True)


def test_routes_simulate_offline_needs_a_configuration_alone(tmp_path: Path) -> None:
    file = config(tmp_path / "penstock.yaml")
    words = ("routes", "simulate", "r", "--offline", str(file), "--project", "p", "--input-tokens", "10")
    told = invoke(*words, "--json").json
    assert told["decision"]["deployment"] == "alpha/m"
    shown = invoke(*words, "--constraints", '{"residency": ["eu-*"]}')
    assert shown.code == 0
    assert "strategy ordered: beta/m" in shown.out
    assert "us-east-1" in shown.out
    nobody = invoke("routes", "simulate", "other", "--offline", str(file), "--project", "p")
    assert (nobody.code, "there is no route 'other'" in nobody.out) == (4, True)
    bad = invoke("routes", "simulate", "r", "--offline", str(tmp_path / "none.yaml"))
    assert (bad.code, "the configuration cannot be used" in bad.err) == (2, True)


async def test_what_if_replays_a_file_of_facts_through_two_configurations(tmp_path: Path) -> None:
    facts = tmp_path / "facts.jsonl"
    told = [fact(number, deployment="alpha/m", seconds=2.0) for number in range(40)]
    facts.write_bytes(b"\n".join(encode(each) for each in told))
    old = config(tmp_path / "old.yaml", places="alpha/m")
    new = config(tmp_path / "new.yaml", alpha=", limits: {rpm: 2}")
    words = ("routes", "what-if", "--config", str(new), "--against", str(old), "--facts", str(facts))
    shown = await alone(*words)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.split("\n")[0].split() == ["recorded", "as", "it", "is", "changed"]
    assert "at beta/m" in shown.out
    assert "approximated: beta/m has no answers in the facts" in shown.out
    done = invoke(*words, "--json")
    assert (done.code, done.err) == (0, "")
    sides: dict[str, Any] = done.json["sides"]
    assert sides["as it is"]["answers"] == {"alpha/m": 40}
    assert sides["changed"]["answers"]["beta/m"] > 10
    assert sides["recorded"]["cost"] == "0.04"


def test_what_if_says_what_is_wrong_with_its_files(tmp_path: Path) -> None:
    facts = tmp_path / "facts.jsonl"
    facts.write_text("hello\n")
    old = config(tmp_path / "old.yaml")
    done = invoke("routes", "what-if", "--config", str(old), "--against", str(old), "--facts", str(facts))
    assert (done.code, "facts.jsonl: line 1 is no JSON" in done.err) == (2, True)

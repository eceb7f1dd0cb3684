"""The worker's second check: what must not go to its provider is handed back with the reason, and not a byte sent."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from catalogue.rows import ModelRow, ProviderRow
from job_contracts.constraints import Constraints, joined, unmet
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from runtime.settings.routing import Provider
from simulator import Settings, Simulator
from tests.support import builders
from tests.support.upstream import completion, response, upstream
from tests.support.worker import bench
from workers.guarding import Guard

EU: dict[str, Any] = {"region": "eu-central-1", "hosting": "self", "quantisation": "fp8"}
ROW = ProviderRow.model_validate(
    {
        "name": "alpha",
        "dialect": "openai_chat",
        "base_url": "http://127.0.0.1",
        "models": [{"name": "m", "prices": [{"input": "0.5", "output": "2"}]}],
    }
)
MET = Constraints(residency=("eu-*",), hosting="self")
UNMET = Constraints(zero_retention=True)
SETS: tuple[dict[str, Any], ...] = (
    *({}, {"residency": ["eu-*"]}, {"residency": ["us-*"]}, {"hosting": "self"}, {"hosting": "managed"}),
    *({"zero_retention": True}, {"deny_providers": ["alpha"]}, {"models": ["alpha/*"]}, {"deny_models": ["m"]}),
    *({"max_input_price": "0.5"}, {"max_output_price": "1"}, {"quantisation": ["fp8"]}, {"quantisation": ["bf16"]}),
)


@pytest.mark.parametrize("where", ["assignment", "job", "both"])
async def test_a_job_whose_constraints_are_not_met_is_handed_back_and_no_connection_is_made(where: str) -> None:
    async with upstream([response(completion())]) as server, bench(server.url, **EU) as worker:
        job = builders.job("stem-1", constraints=MET if where == "assignment" else UNMET)
        asked = (MET,) if where == "job" else (MET, UNMET)
        outcome = await worker.outcome(await worker.hand(worker.assignment(job=job, constraints=asked)))
        assert (outcome.failure.kind, outcome.called) == (FailureKind.CONSTRAINT, False)
        assert "alpha/m was not called for this job: it is not known to keep nothing" in outcome.failure.message
        assert outcome.failure.field == "constraints"
        assert (server.connections, server.asked, worker.facts()) == (0, [], {})


async def test_a_job_whose_constraints_are_met_is_answered() -> None:
    async with upstream([response(completion())]) as server, bench(server.url, **EU) as worker:
        given = await worker.hand(worker.assignment(job=builders.job("stem-1", constraints=MET), constraints=(MET,)))
        assert (await worker.result(given)).state is JobState.SUCCEEDED


async def test_the_providers_meters_count_exactly_the_jobs_that_may_go_there() -> None:
    """Any two of many constraints, the job's and its project's; the simulator has written down whatever reached it."""
    random, allowed = Random(11), set()
    async with Simulator(Settings()) as simulator:
        url = f"{simulator.base_url('openai')}/v1"
        async with bench(url, **EU) as worker:
            guarded = worker.worker.pool
            told = worker.config.providers["alpha"]
            given = []
            for number in range(120):
                own, projects = (Constraints.model_validate(random.choice(SETS)) for _ in range(2))
                one = worker.assignment(job=builders.job(f"stem-{number}", constraints=own), constraints=(projects,))
                traits = Guard("alpha", told, None, {}).traits("m", worker.clock.wall())
                if unmet(joined(own, projects), traits) is None:
                    allowed.add(one.attempt_id)
                given.append(await worker.hand(one))
            for one in given:
                if one.attempt_id in allowed:
                    await worker.result(one)
                else:
                    await worker.outcome(one)
            assert guarded.running == 0
        reached = {line.headers.get("x-penstock-attempt") for line in simulator.control.log(10_000)}
    assert reached == allowed
    assert 10 < len(allowed) < 110


def judged(asked: dict[str, Any], row: ProviderRow | None = ROW, model: str = "m", **told: Any) -> str | None:
    """What the guard of such a provider says to a job that asks for that; the words between the name and the end."""
    provider = Provider.model_validate(told)
    guard = Guard("alpha", provider, row, {"default": Constraints.model_validate(asked)})
    found = guard.turns_away(builders.assignment(deployment=f"alpha/{model}"), builders.job(), builders.SUBMITTED)
    return None if found is None else found.message.partition(": ")[2]


def test_the_workers_own_configuration_of_the_project_is_held_as_well() -> None:
    assert judged({"residency": ["eu"]}, region="us") == "its region is 'us', and only eu is allowed"
    assert judged({"residency": ["eu"]}, region="eu") is None


def test_prices_are_those_of_the_catalogue_at_that_moment_and_unknown_ones_meet_no_cap() -> None:
    assert judged({"max_output_price": "2", "max_input_price": "0.5"}) is None
    assert "its output price is 2" in (judged({"max_output_price": "1.99"}) or "")
    assert "is not known" in (judged({"max_input_price": 100}, row=None) or "")


def test_a_name_that_is_served_across_regions_is_where_it_says_and_not_where_it_is_called() -> None:
    asked = {"residency": ["eu-central-1", "eu"]}
    assert judged(asked, region="eu-central-1", model="anthropic.claude-x") is None
    assert judged(asked, region="eu-central-1", model="eu.anthropic.claude-x") is None
    assert "'us'" in (judged(asked, region="eu-central-1", model="us.anthropic.claude-x") or "")
    assert "'global'" in (judged(asked, region="eu-central-1", model="global.anthropic.claude-x") or "")


def test_a_model_is_denied_by_whichever_name_it_is_served() -> None:
    row = ROW.model_copy(update={"models": (ModelRow(name="my-deployment", same_as="gpt-4.1"),)})
    asked = {"deny_models": ["gpt-4*", "claude-*"]}
    assert "gpt-4.1" in (judged(asked, row, "my-deployment") or "")
    assert "claude-x" in (judged(asked, None, "anthropic.claude-x") or "")
    assert judged(asked, None, "qwen3") is None


def test_the_catalogues_region_counts_where_it_knows_only_one_and_the_address_is_the_providers_own() -> None:
    row = ROW.model_copy(update={"regions": ("cn",)})
    assert judged({"residency": ["cn"]}, row) is None
    assert "not known" in (judged({"residency": ["cn"]}, row, base_url="http://127.0.0.1:1") or "")
    assert "not known" in (judged({"residency": ["*"]}, ROW.model_copy(update={"regions": ("us", "eu")})) or "")

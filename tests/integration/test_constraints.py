"""Constraints through a whole gateway: what providers were called with is what was allowed, also when they fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from job_contracts.constraints import Constraints, Traits, joined, unmet
from job_contracts.failures import FailureKind
from producer_sdk import ConstraintsUnmet, JobFailed
from simulator import FaultOrder
from tests.support.plant import MESSAGES, REQUEST_ID, plant
from tests.support.stand_in import PROJECT

POOLS: dict[str, dict[str, Any]] = {
    "home": {"hosting": "self", "region": "eu-home", "zero_retention": True},
    "europe": {"region": "eu-west", "zero_retention": True},
    "america": {"region": "us-east"},
    "secret": {"region": "eu-home", "hosting": "self", "zero_retention": True},
}
ASKED: tuple[dict[str, Any], ...] = (
    *({}, {"residency": ["eu-*"]}, {"hosting": "self"}, {"zero_retention": True}, {"residency": ["us-*"]}),
    *({"deny_providers": ["home"]}, {"models": ["europe/*", "america/*"]}, {"residency": ["cn"]}),
)
DENIED = Constraints(deny_providers=("secret",))


@pytest.mark.timeout(120)
async def test_no_provider_is_called_that_the_constraints_keep_a_job_from_not_even_when_others_fail(
    tmp_path: Path,
) -> None:
    deployments = [f"{pool}/{pool}" for pool in ("america", "europe", "secret", "home")]
    projects = {PROJECT: {"retry_share": 1.0, "deny_providers": ["secret"]}}
    random, refused = Random(3), 0
    asked: dict[str, Constraints] = {}
    async with plant(tmp_path, pools=POOLS, routes={"chat": {"deployments": deployments}}, projects=projects) as made:
        await made.scheduler()
        for pool in POOLS:
            await made.worker(pool, f"w-{pool}")
        for pool in ("america", "europe", "home"):
            await made.simulator.control.add_fault(FaultOrder(fault="500", models=pool, times=12))
        async with made.producer() as producer:
            jobs = []
            for _ in range(60):
                own = random.choice(ASKED)
                job = await producer.submit(model="chat", messages=MESSAGES, constraints=own, deadline=30)
                asked[job.id] = Constraints.model_validate(own)
                jobs.append(job)
            for end in await asyncio.gather(*(job.result() for job in jobs), return_exceptions=True):
                if isinstance(end, ConstraintsUnmet):
                    refused += 1
                    assert end.message.count("region is") + end.message.count("denied") == len(deployments)
                elif isinstance(end, JobFailed):
                    assert end.kind is not FailureKind.CONSTRAINT
                else:
                    assert not isinstance(end, BaseException), repr(end)
        called = [(line.headers[REQUEST_ID], line.model) for line in made.simulator.control.log(10_000)]
    assert refused == sum(1 for one in asked.values() if one.residency == ("cn",)) > 0
    assert len(called) > len(asked) - refused, "nothing failed over"
    for attempt, pool in called:
        rule = POOLS[pool]
        traits = Traits(pool, pool, str(rule["region"]), "self" if "hosting" in rule else "managed")
        if rule.get("zero_retention"):
            traits = Traits(pool, pool, traits.region, traits.hosting, zero_retention=True)
        assert unmet(joined(DENIED, asked[attempt.split(".")[1]]), traits) is None, f"{attempt} reached {pool}"

"""``POST /v1/feedback`` over everything: kept once, by the project whose job it is."""

from __future__ import annotations

from pathlib import Path

from job_contracts import subjects
from tests.integration.gateway.test_jobs import house, submitted
from tests.support.stand_in import PROJECT


async def test_a_score_is_kept_once_and_what_cannot_be_scored_is_named(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, whole, one):
        job = (await submitted(one))["id"]
        await one.client.get(f"/v1/jobs/{job}/result?wait=10")
        kept = await one.client.post("/v1/feedback", json={"job": job, "score": 1})
        assert (kept.status_code, kept.json()["first"], kept.json()["experiment"]) == (201, True, None)
        again = await one.client.post("/v1/feedback", json={"job": job, "score": 0.25})
        assert (again.status_code, again.json()["first"]) == (200, False)
        for body, field in (
            ({"job": job, "score": 2}, "score"),
            ({"job": job, "score": True}, "score"),
            ({"job": "", "score": 0.5}, "job"),
            ({"job": "0", "score": 0.5}, "job"),
            ({"job": f"{job}\n", "score": 0.5}, "job"),
            ({"score": 0.5}, "job"),
        ):
            refused = await one.client.post("/v1/feedback", json=body)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, field), refused.text
        unknown = await one.client.post("/v1/feedback", json={"job": "0123456789abcdef-0123456789abcdef", "score": 0.5})
        assert unknown.status_code in {400, 404}
        stored = await whole.bus.last(subjects.RES, subjects.score(PROJECT, job, "feedback"))
        assert (stored.headers or {})[subjects.H_SCORE]

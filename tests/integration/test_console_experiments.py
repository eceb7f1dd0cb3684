"""The page of experiments over a real leader: its numbers are the book's, and a stop is in force and in both audits."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from console.asking import OPERATOR
from job_contracts import subjects
from job_contracts.operating import AskAudit
from job_contracts.trials import AskExperiments
from runtime.bus.memory import MemoryBroker
from tests.support.console_browser import ACCESS, browsing
from tests.support.console_rows import cells, words
from tests.support.world import config, world

SECTIONS: dict[str, Any] = {
    "gateway": ACCESS,
    "routes": {"fast": {"deployments": ["alpha/m"]}, "cheap": {"deployments": ["beta/m"]}},
    "experiments": {"exp": {"route": "fast", "challengers": {"b": {"route": "cheap"}}, "ramp": {"steps": [1.0]}}},
}
JOBS = 30


async def test_arms_are_shown_as_the_leader_counts_them_and_a_stop_is_in_force_and_in_both_audits() -> None:
    broker = MemoryBroker()
    operators = broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))
    async with world(broker.bus(inbox_prefix="_INBOX_demo"), **SECTIONS) as demo:
        await demo.pool("alpha")
        await demo.pool("beta")
        await asyncio.gather(*(demo.submit(f"a-{number}", session=f"s{number}") for number in range(JOBS)))
        ends = [await demo.result(f"a-{number}", within=20.0) for number in range(JOBS)]
        leading = demo.scheduler.leading
        assert leading is not None
        await leading.trials.look()
        async with browsing(config(**SECTIONS), operators) as (browser, asking):
            page = (await browser.get("/experiments")).text
            shows = cells(page)
            served = {"control": "fast", "b": "cheap"}
            for arm, route in served.items():
                row = shows[f"arm-exp-{arm}"]
                assert (row["route"], row["jobs"]) == (route, str(sum(end.route == route for end in ends)))
            assert sum(int(shows[f"arm-exp-{arm}"]["jobs"]) for arm in served) == JOBS
            forms = re.search(r'id="stop".*?name="forms" value="([^"]+)"', page, re.DOTALL)
            assert forms is not None
            stop = {"forms": forms[1], "on": "exp/b", "why": "it is rude"}
            await browser.post("/experiments/stop", data=stop)
            after = (await browser.get("/experiments")).text
            assert "b of exp is stopped (audit " in words(after)
            assert cells(after)["arm-exp-b"]["stopped"] == "it is rude (admin)"
            assert '<option value="exp/b"' not in after
            await browser.post("/experiments/stop", data={**stop, "why": "once more"})
            (told,) = (await asking.experiments(AskExperiments())).experiments
            assert told.arms[1].stopped == "it is rude (admin)", "the first reason stands"
            assert [line.why for line in told.audit if line.what == "stopped"] == ["b: it is rude (admin)"]
            audit = await asking.audit(AskAudit(did="stop_arm"))
            noted = [(line.entry.by, line.entry.on, line.entry.name, line.entry.why) for line in audit.lines]
            assert noted[-1] == ("admin", "experiment", "exp/b", "it is rude")

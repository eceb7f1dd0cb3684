"""What people do at the console in a browser, and where it is looked up whether it was done."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

from playwright.async_api import Browser

from appliance.http import ask
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.finding import AskFind, AskJob, JobPage
from job_contracts.letters import DeadLetter
from tests.support.browsing import Tab, tab
from tests.support.eventually import eventually
from tests.support.staged import PROJECT, Stage


@asynccontextmanager
async def person(browser: Browser, stage: Stage, role: str) -> AsyncIterator[Tab]:
    """Somebody at the console, with whom nothing may go amiss."""
    async with tab(browser, stage.origin, stage.key(role)) as seen:
        yield seen
        assert not seen.amiss


async def said(seen: Tab) -> str:
    """What the page says that was done."""
    return await seen.words("[role=status]")


async def audited(seen: Tab, did: str, *parts: str, at: int = 0) -> None:
    """The newest line of the audit about this, on its page."""
    await seen.go(f"/audit?did={quote(did)}")
    line = await seen.words(f"tbody tr >> nth={at}")
    assert all(part in line for part in parts), (parts, line)


async def jobs(stage: Stage, count: int, route: str, tag: str) -> list[str]:
    """Submitted, and known to the leader or ended."""
    handles = [
        await stage.producer.submit(model=route, messages=f"{tag} {place}", tags={"run": tag}) for place in range(count)
    ]
    return [handle.id for handle in handles]


async def found_by(stage: Stage, tag: str) -> JobPage:
    return await stage.leader.jobs(AskFind(tag=f"run={tag}", limit=100))


async def ended(stage: Stage, job: str) -> str:
    """How a job ended; empty while it has not."""
    told = await stage.leader.job(AskJob(project=PROJECT, job=job))
    return "" if told.result is None else told.result.state.value


async def letters(stage: Stage, jobs: Sequence[str]) -> dict[str, DeadLetter]:
    """What DEAD holds of them."""
    lie = await stage.bus.run(subjects.DEAD, 1, subjects.letters_of(PROJECT), limit=10_000, size=2**30)
    every = {subjects.project_and_job(one.subject)[1]: decode(DeadLetter, one.data) for one in lie}
    return {job: every[job] for job in jobs if job in every}


async def matching(stage: Stage, tag: str, count: int) -> bool:
    return (await found_by(stage, tag)).matching == count


async def ended_so(stage: Stage, jobs: Sequence[str], state: str) -> bool:
    return {await ended(stage, job) for job in jobs} == {state}


async def are_dead(stage: Stage, jobs: Sequence[str]) -> bool:
    return len(await letters(stage, jobs)) == len(jobs)


async def became(stage: Stage, jobs: Sequence[str], route: str) -> None:
    """Each is another job on that route, once, and that one is answered."""
    lie = await letters(stage, jobs)
    replays = [letter.replay for letter in lie.values() if letter.state == "replayed" and letter.replay is not None]
    assert [replay.route for replay in replays] == [route] * len(jobs)
    assert len({replay.job for replay in replays}) == len(jobs)
    await eventually(lambda: ended_so(stage, [replay.job for replay in replays], "succeeded"), within=30.0)


async def status(stage: Stage, key: str, model: str = "fast") -> int:
    """What the edge answers whoever shows this key."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
    url = f"{stage.appliance.card['gateway_url']}/v1/chat/completions"
    return (await ask(url, method="POST", body=body, key=key)).status


def shown_key(words: str) -> str:
    made = re.search(r"psk_\w+", words)
    assert made is not None, words
    return made[0]

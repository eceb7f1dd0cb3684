"""What stands behind the console's pages beside the ledger: a leader, an edge, workers, and what a busy day leaves.

A hundred pools of three deployments each, each with limits, and a hundred weighted routes over them; twenty projects
with limits of their own. Some pools have workers, which hold what they are given: they are full, and everything else
waits. Leader and edge are processes; the workers live here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from appliance.ports import free_ports
from benchmarks.reports import configured
from console.asking import Asking, Edges, NoAnswer
from job_contracts import subjects
from job_contracts.attempts import Assignment, Heartbeat
from job_contracts.chat import Conversation, Usage, UserTurn
from job_contracts.codec import decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import LANES, BlobRef, Job, JobState, Ticket, body_hash
from job_contracts.keys import KeyRecord, Scope, key_id, written
from job_contracts.letters import DeadLetter
from job_contracts.operating import AskNote
from job_contracts.results import AttemptRecord, Result, Settlement, Times
from runtime.bus.port import Bus, BusError
from runtime.connection import prepare
from runtime.settings import Config

ADMIN, PEPPER = "psa_" + "a" * 64, "pepper"
HOLDER = written("project7", "b" * 64)
"""The key of one project, for whoever sees that one alone."""
POOLS, EACH, ROUTES = 100, 3, 100
"""Pools, deployments of one, and routes; a route goes by weights over three of the deployments."""
STAFFED, WORKERS, SLOTS = 20, 5, 2
"""Pools that have workers, workers of one, and what one of them holds."""
JOBS, ENDED, LETTERS, KEYS, NOTES = 20_000, 20_000, 10_000, 300, 1_000
CAUSES, PROJECTS = 12, 20
BEAT = 2.0
"""Seconds between two heartbeats of a worker."""
WITHIN = 120.0
"""Seconds in which the leader must lead, and have read what is queued."""
AT_ONCE = 200
PROMPT = "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 20


def settings(url: str = "nats://127.0.0.1:4222") -> Config:
    """The configuration of all that takes part, the ledger's traffic in it."""
    provider = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "none"}
    limits = {"rpm": 60_000, "input_tpm": 60_000_000, "output_tpm": 60_000_000, "concurrency": 500}
    domains = {f"m{n}": {"models": [f"m{n}"], "limits": limits} for n in range(EACH)}
    told = configured().model_dump(mode="json", exclude_unset=True)
    told["providers"]["p0"]["key"] = "none"
    told["providers"] |= {f"pool{n}": {**provider, "domains": domains} for n in range(POOLS)}
    told["routes"] |= {
        f"way{n}": {
            "deployments": [f"pool{(n + more) % POOLS}/m{more}" for more in range(EACH)],
            "strategy": "weighted",
            "weights": {f"pool{(n + more) % POOLS}/m{more}": EACH - more for more in range(EACH)},
        }
        for n in range(ROUTES)
    }
    for project in told["projects"].values():
        project |= {"limits": {"rpm": 600_000}, "max_queued": 100_000}
        project["budget"]["soft"] = True  # what a job costs is not known here: a hard one would refuse them all
        for budget in project.get("tags", {}).values():
            budget["soft"] = True
    keys = {"holder": {"project": "project7", "hash": _hashed(HOLDER)}}
    told["gateway"] = {"pepper": PEPPER, "admin_hash": _hashed(ADMIN), "keys": keys}
    told["nats"] = {"url": url}
    return Config.model_validate(told)


def _hashed(key: str) -> str:
    return hmac.digest(PEPPER.encode(), key.encode(), hashlib.sha256).hex()


# ------------------------------------------------------------------------------------------------------- the processes


@asynccontextmanager
async def processes(folder: Path, url: str) -> AsyncIterator[list[int]]:
    """A leader and an edge over a broker that has its streams; yields their process ids."""
    config = settings(url)
    told = config.model_dump(mode="json", exclude_unset=True)
    told["providers"] = {name: {**one, "key": "none"} for name, one in told["providers"].items()}
    told["gateway"]["pepper"] = PEPPER
    path = folder / "penstock.yaml"
    path.write_text(json.dumps(told))
    (port,) = free_ports(1)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, more in (("scheduler", ()), ("gateway", ("--port", str(port)))):
            log = (folder / f"{name}.log").open("wb")
            command = [sys.executable, "-m", name, "--config", str(path), "--name", name, *more]
            running.append(subprocess.Popen(command, stdout=log, stderr=log))  # noqa: ASYNC220 - a fork is short
            log.close()
        yield [one.pid for one in running]
    finally:
        for one in running:
            one.terminate()
        for one in running:
            try:
                await asyncio.to_thread(one.wait, 20)
            except subprocess.TimeoutExpired:
                one.kill()


@asynccontextmanager
async def loaded(folder: Path, url: str, bus: Bus, operators: Bus) -> AsyncIterator[Load]:
    """All of it, filled and at rest. ``operators``: a connection with the operator's inboxes."""
    config = settings(url)
    await prepare(bus, config)
    load = Load(bus)
    async with AsyncExitStack() as stack:
        await load.keep()
        load.pids += await stack.enter_async_context(processes(folder, url))
        workers = [Worker(bus, f"pool{n}") for n in range(STAFFED)]
        for worker in workers:
            stack.push_async_callback(worker.stop)
            await worker.start()
        asking = Asking(operators)
        await _until(asking.overview, lambda now: now.known >= JOBS and now.in_flight >= STAFFED * WORKERS, folder)
        await _until(Edges(operators).edges, lambda told: bool(told.edges), folder)
        for number in range(NOTES):
            note = AskNote(by="admin", did="discard", on="letters", name=f"note {number}", why="so that there are some")
            await asking.note(note)
        load.names["held"] = next(name.split(".")[1] for name in workers[0].held if name.startswith("project0."))
        yield load


async def _until(ask: Any, reached: Any, folder: Path) -> None:
    until, told = time.monotonic() + WITHIN, ""
    while time.monotonic() < until:
        try:
            found = await ask()
            told = repr(found)[-600:]
            if reached(found):
                return
        except NoAnswer as error:
            told = str(error)
        await asyncio.sleep(0.2)
    logs = "\n".join((folder / f"{name}.log").read_text()[-1_000:] for name in ("scheduler", "gateway"))
    raise SystemExit(f"not within {WITHIN:g} s: {told}\n{logs}")


class Worker:
    """All workers of one pool: they hold what they are given and say so."""

    def __init__(self, bus: Bus, pool: str) -> None:
        self._bus, self._pool = bus, pool
        self.held: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Beat and pull."""
        self._tasks = [asyncio.create_task(self._pull()), asyncio.create_task(self._beat())]

    async def stop(self) -> None:
        """As if killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pull(self) -> None:
        puller = await self._bus.pull(subjects.stream_name(subjects.WORK, 0), self._pool)
        try:
            while True:
                for one in await puller.fetch(WORKERS * SLOTS, expires=5.0):
                    self.held[decode(Assignment, one.message.data).attempt_id] = one
        finally:
            await puller.close()

    async def _beat(self) -> None:
        while True:
            for number in range(WORKERS):
                names = tuple(islice(self.held, number, None, WORKERS))
                beat = Heartbeat(pool=self._pool, worker=f"w{number}", slots=SLOTS, attempts=names, begun=names)
                try:
                    await self._bus.request(subjects.heartbeat(self._pool, beat.worker), encode(beat), timeout=1.0)
                except BusError:
                    continue
            await asyncio.sleep(BEAT if len(self.held) >= WORKERS * SLOTS else 0.2)


# ------------------------------------------------------------------------------------------------------------ the load


@dataclass
class Load:
    """What is kept at the broker, and the names that pages ask for."""

    bus: Bus

    def __post_init__(self) -> None:
        """Nobody is started yet."""
        self.pids: list[int] = []
        self.names = {"cause": _cause(7), "key": key_id(_key(7))}
        self._now = time.time()

    async def keep(self) -> None:
        """Jobs, results, dead letters and keys."""
        for count, one in (
            (JOBS, self._job),
            (ENDED, self._result),
            (LETTERS, self._letter),
            (KEYS, self._key),
        ):
            await _several(one(number) for number in range(count))

    async def _job(self, number: int) -> None:
        project, job = _project(number), f"job-{number:06}"
        data = encode(
            Job(
                id=job,
                route=f"way{number % ROUTES}",
                conversation=Conversation(messages=(UserTurn(role="user", content=PROMPT),)),
            )
        )
        headers = {subjects.H_TICKET: encode(self._ticket(number, data)).decode()}
        await self.bus.append(subjects.submit(project, job), data, headers=headers, timeout=30.0)

    def _ticket(self, number: int, data: bytes) -> Ticket:
        return Ticket(
            route=f"way{number % ROUTES}",
            lane=LANES[number % len(LANES)],
            submitted=self._now - JOBS + number,
            token=f"token-{number}",
            body_hash=body_hash(data),
            input_estimate=250,
            max_output=64,
            deadline=self._now + 86_400,
            key=f"key{number % 40}",
            tags={"team": f"team{number % 10}"},
        )

    async def _result(self, number: int) -> None:
        project, job = _project(number), f"ended-{number:06}"
        record = _attempt(number, self._now)
        result = Result(
            job=job,
            project=project,
            state=JobState.SUCCEEDED,
            route=f"way{number % ROUTES}",
            token=f"token-{number}",
            body_hash="0" * 64,
            nonce=f"{job}.1",
            usage=record.usage,
            deployment=record.deployment,
            attempts=(record,),
            times=Times(submitted=self._now - 60, finished=self._now),
        )
        settlement = Settlement(
            state=result.state,
            token=result.token,
            body_hash=result.body_hash,
            attempt=1,
            deployment=record.deployment,
            usage=record.usage,
            finished=self._now,
        )
        headers = {subjects.H_SETTLEMENT: encode(settlement).decode()}
        await self.bus.append(subjects.result(project, job), encode(result), headers=headers, timeout=30.0)

    async def _letter(self, number: int) -> None:
        """One in fifty was discarded since; each open one has its body beside it."""
        project, job, body = _project(number), f"dead-{number:06}", PROMPT.encode()
        failure = Failure(kind=FailureKind.INTERNAL, message=f"something is broken {'x' * 150}", status=500)
        attempts = tuple(
            _attempt(number, self._now).model_copy(update={"number": one, "failure": failure}) for one in (1, 2, 3)
        )
        gone = number % 50 == 49
        ref = BlobRef(chunks=1, size=len(body), sha256=hashlib.sha256(body).hexdigest())
        letter = DeadLetter(
            project=project,
            job=job,
            reason="exhausted",
            detail=failure.message,
            fingerprint=_cause(number),
            at=self._now - LETTERS + number,
            stream="SUBMIT_0",
            seq=number + 1,
            attempts=3,
            failure=failure,
            ticket=self._ticket(number, body),
            history=attempts,
            blob=None if gone else ref,
            state="discarded" if gone else "open",
            kept_until=self._now + 86_400,
        )
        if not gone:
            await self.bus.append(subjects.letter_body(project, job, ref.sha256, 0), body, timeout=30.0)
        await self.bus.append(subjects.dead(project, job), encode(letter), timeout=30.0)

    async def _key(self, number: int) -> None:
        project = _project(number)
        key = _key(number)
        scope = Scope(rpm=600, tpm=100_000, concurrency=8) if number % 3 else Scope(routes=("way1",))
        record = KeyRecord(
            id=key_id(key),
            project=project,
            hash=_hashed(key),
            name=f"made {number}",
            scope=scope,
            created=self._now - 86_400,
            revoked=self._now if number % 10 == 9 else None,
        )
        await self.bus.append(subjects.key_record(record.id), encode(record), timeout=30.0)


def _cause(number: int) -> str:
    return hashlib.sha256(b"%d" % (number % CAUSES)).hexdigest()[:16]


def _key(number: int) -> str:
    return written(_project(number), hashlib.sha256(b"%d" % number).hexdigest())


def _project(number: int) -> str:
    return f"project{number % PROJECTS}"


def _attempt(number: int, now: float) -> AttemptRecord:
    pool = f"pool{number % POOLS}"
    return AttemptRecord(
        number=1,
        deployment=f"{pool}/m{number % EACH}",
        provider=pool,
        model=f"m{number % EACH}",
        started=now - 60,
        seconds=1.5,
        usage=Usage(input=250, output=16),
    )


async def _several(writes: Iterable[Awaitable[None]]) -> None:
    """All of them, so many at once."""
    left = iter(writes)

    async def some() -> None:
        for one in left:
            await one

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))

"""The tour itself: start everything, let things go wrong on purpose, and hold the outcome against the promises."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from appliance.assembly import Wishes
from appliance.demo import summary
from appliance.demo.accounts import books, services_bus
from appliance.demo.capped import capped
from appliance.demo.over_http import over_http
from appliance.demo.prompts import bundled
from appliance.demo.relay import Relay
from appliance.demo.screen import Screen
from appliance.demo.stage import Stage
from appliance.demo.staging import FAILING, LIMIT, LIMITED, LOSING, OVER, SIMULATED, STORY, THRIFTY, WINDOW
from appliance.demo.traffic import Traffic
from appliance.demo.verdict import Evidence, Live, broken_promises
from appliance.errors import ApplianceError
from appliance.http import NoAnswer
from appliance.ports import LOOPBACK
from appliance.running import Running, appliance
from appliance.supervisor import Died, Happening, Ready
from appliance.up import listening
from appliance.words import told
from job_contracts import subjects
from job_contracts.stream import Finished, Queued, Started, Switched, Token
from producer_sdk import PenstockError, Producer
from runtime.bus.port import BusError

RATE = 18.0
"""Requests submitted a second."""

OUTAGE = 5.0
"""Seconds that the failing provider stays down."""

CUT_AFTER, DEAF_FOR = 45, 0.8
"""Pieces of text after which the connection is cut, and the seconds until the network is back."""

PATIENCE = 60.0
"""Seconds any single answer may take."""

QUESTION = "Tell the story of a drop of water on its way from the mountain lake through the penstock to the turbine."


async def demo(keep: Path | None, variables: Mapping[str, str]) -> int:
    """Run the tour in this environment; 0 if every promise was kept, 1 if not, 130 if it was interrupted.

    Raises:
        ApplianceError: it could not be set up.
    """
    screen = Screen()
    with _folder(keep) as folder:
        wishes = Wishes(folder, nats_port=0, simulate=True, simulated=SIMULATED, over=OVER, variables=variables)
        screen.title("Penstock: a tour with three simulated providers (no key, no internet)")
        async with appliance(wishes, say=_teller(screen)) as running:
            with listening(running.supervisor) as ending:
                touring = asyncio.create_task(_tour(screen, running))
                asked = asyncio.create_task(ending.asked.wait())
                await asyncio.wait({touring, asked}, return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
                if touring.done():
                    seen = _outcome(touring)
                    await running.supervisor.stop()
                    return _conclude(screen, seen)
                touring.cancel()
                await asyncio.wait({touring})
                screen.say("interrupted: everything is being stopped")
                return 130


def _outcome(touring: asyncio.Task[Evidence]) -> Evidence:
    try:
        return touring.result()
    except (PenstockError, BusError, NoAnswer) as error:
        raise ApplianceError(f"the tour ended early: {error}") from error


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="penstock-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


async def _tour(screen: Screen, running: Running) -> Evidence:
    await running.supervisor.start()
    names = ", ".join(running.supervisor.pids)
    screen.say(f"{len(running.supervisor.pids)} processes are ready: {names}")
    assembly = running.assembly
    stage = Stage(assembly.simulator_url or "")
    key = assembly.project_key.get_secret_value()
    live = await _live(screen, assembly.nats_url, key)
    async with Producer(assembly.nats_url, key=key, name="tour") as producer:
        http = await over_http(screen, assembly.gateway_url, key, producer)
        thrift = await capped(screen, assembly.nats_url, assembly.keys.projects[THRIFTY].get_secret_value(), stage)
        prompts = bundled()
        screen.title(f"{len(prompts)} requests, with things going wrong")
        traffic = Traffic(producer, prompts, RATE, PATIENCE)
        with screen.progress(len(prompts)) as bar:
            traffic.watch = lambda: bar.at(traffic.finished, len(prompts), traffic.in_flight, traffic.failed_over)
            trouble = asyncio.create_task(_trouble(screen, running, stage, traffic))
            try:
                await traffic.run()
                interrupted = await trouble
            finally:
                trouble.cancel()
                await asyncio.gather(trouble, return_exceptions=True)
    screen.say("every request has its result")
    screen.say("now the books: what our facts say was spent, against what the providers metered")
    return Evidence(
        stories=traffic.stories,
        live=live,
        http=http,
        capped=thrift,
        books=await books(assembly, stage),
        stored=await _stored(running),
        billed=await stage.billed(),
        uses=await stage.uses(),
        rate_limited=await stage.rate_limited(),
        interrupted=interrupted,
        restarts={name: child.restarts for name, child in running.supervisor.children.items()},
        seconds=screen.seconds,
    )


async def _live(screen: Screen, url: str, key: str) -> Live:
    """Stream one answer, cut its connection in the middle, and read on."""
    screen.title("One answer, streamed; the plug of this client is pulled in the middle")
    said: list[str] = []
    before, live = 0, None
    port = int(url.rpartition(":")[2])
    async with (
        Relay(LOOPBACK, port) as relay,
        Producer(f"nats://{LOOPBACK}:{relay.port}", key=key) as producer,
        producer.stream(model=STORY, messages=QUESTION, lane="rt", timeout=PATIENCE) as events,
    ):
        async for event in events:
            match event:
                case Queued(job=job) if not said:
                    screen.say(f"job {job} is accepted and durable")
                case Started(deployment=deployment):
                    screen.say(f"{deployment.partition('+')[0]} answers:")
                case Token(text=text):
                    said.append(text)
                    screen.piece(text)
                    if len("".join(said).split()) >= CUT_AFTER and not relay.cuts:
                        before = len(said)
                        relay.cut(DEAF_FOR)
                        screen.piece(f" [connection cut, network away for {DEAF_FOR} s]", style="bold red")
                case Switched():
                    said.clear()
                case Finished(result=result):
                    screen.end()
                    live = Live(result, "".join(said), relay.cuts, before, len(said) - before)
                case _:
                    pass
    if live is None:
        raise ApplianceError("the streamed answer ended without a result")
    words = len(live.text.split())
    screen.say(
        f"all {words} words arrived, in order, none twice: the producer reconnected and asked for what it missed"
    )
    return live


async def _trouble(screen: Screen, running: Running, stage: Stage, traffic: Traffic) -> int:
    """An outage half-way and a killed worker at three quarters; how many answers that worker was receiving."""
    screen.say(f"{LIMITED} answers {LIMIT} requests in any {WINDOW:g} s and 429 beyond; its jobs wait for their turn")
    await traffic.until(0.5)
    screen.say(f"{FAILING} goes down: its port refuses connections", style="red")
    await stage.break_(FAILING, "refused")
    await asyncio.sleep(OUTAGE)
    await stage.mend(FAILING)
    screen.say(f"{FAILING} is back", style="green")
    await traffic.until(0.75)
    return await _kill(screen, running, stage, traffic)


async def _kill(screen: Screen, running: Running, stage: Stage, traffic: Traffic) -> int:
    name = f"worker-{LOSING}"
    while not (interrupted := await stage.in_progress(LOSING)):
        if not traffic.in_flight and traffic.submitted == len(traffic.prompts):
            return 0
        await asyncio.sleep(0.02)
    os.kill(running.supervisor.pids[name], signal.SIGKILL)
    screen.say(f"kill -9 of {name} with {interrupted} answers in flight", style="red")
    return interrupted


async def _stored(running: Running) -> dict[str, int]:
    """Results in the stream, by job."""
    bus = await services_bus(running.assembly)
    try:
        state = await bus.stream_state(subjects.RES, subjects=subjects.result("*", "*-*"))
        return {subjects.project_and_job(subject)[1]: count for subject, count in (state.subjects or {}).items()}
    finally:
        await bus.close()


def _conclude(screen: Screen, seen: Evidence) -> int:
    summary.show(screen, seen)
    broken = broken_promises(seen)
    if not broken:
        screen.title("Every promise was kept.")
        return 0
    screen.title("Not every promise was kept:")
    for sentence in broken:
        screen.plain(f"  - {sentence}", style="bold red", indent=4)
    return 1


def _teller(screen: Screen) -> Callable[[Happening], None]:
    def say(happening: Happening) -> None:
        line = told(happening)
        if line is not None:
            style = "green" if isinstance(happening, Ready) else "red" if isinstance(happening, Died) else ""
            screen.say(line, style=style)

    return say

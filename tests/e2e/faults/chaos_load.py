"""Producers for a fleet under fire: they do what programs do, and log what they did and what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from job_contracts.stream import Finished, Switched, Token
from producer_sdk import Producer
from producer_sdk.errors import IdempotencyConflict, JobFailed, PenstockError
from producer_sdk.handle import JobHandle
from producer_sdk.request import prepare
from tests.e2e.faults.chaos_plan import PROJECTS, Wish
from tests.e2e.faults.chaos_raw import RawProducer
from tests.e2e.faults.events import Acked, CancelAcked, Event, Refused, Seen, Streamed, Submitted
from tests.e2e.faults.fleet_settings import project_key
from tests.e2e.faults.history import CONFLICT

AT_ONCE = 800
"""Jobs under way at most: beyond that new ones wait, as programs do."""


class Load:
    """Submits every wish at its time and sees it to its end."""

    def __init__(self, urls: tuple[str, ...], tell: Callable[[Event], None], seed: int) -> None:
        self._urls = urls
        self._tell = tell
        self._seed = seed
        self._numbers = iter(range(1, 10**9))
        self._places = asyncio.Semaphore(AT_ONCE)
        self._sdk: dict[str, Producer] = {}
        self._raw: dict[str, RawProducer] = {}
        self.patience = 0.0
        """When, on the loop's clock, nobody waits any longer."""
        self.left = 0
        """Wishes that are not done."""

    async def open(self) -> None:
        for project in PROJECTS:
            self._sdk[project] = Producer(
                list(self._urls), project_key(project), connect_timeout=20.0, submit_timeout=60.0, name=f"sdk {project}"
            )
            await self._sdk[project].__aenter__()
            self._raw[project] = RawProducer(self._urls, project, self._tell)
            await self._raw[project].open()

    async def close(self) -> None:
        for producer in self._sdk.values():
            with contextlib.suppress(PenstockError):
                await producer.close()
        for raw in self._raw.values():
            await raw.close()

    async def run(self, wishes: Iterable[Wish], began: float, patience: float) -> None:
        """Submit all, each at its time after ``began``; give up ``patience`` seconds after the last one's."""
        loop = asyncio.get_running_loop()
        self.patience = loop.time() + 86_400.0
        tasks: set[asyncio.Task[None]] = set()
        for wish in wishes:
            await asyncio.sleep(max(0.0, began + wish.at - time.monotonic()))
            await self._places.acquire()
            self.left += 1
            tasks.add(asyncio.create_task(self._one(wish)))
        self.patience = loop.time() + patience
        _, late = await asyncio.wait(tasks, timeout=patience)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, wish: Wish) -> None:
        try:
            match wish.shape:
                case "streamed" if not wish.raw:
                    await self._stream(wish)
                case "cancelled early":
                    await self._cancel(wish, not_before=wish.delay + 4.0)
                case "cancelled late":
                    await self._cancel(wish, pause=wish.delay / 8)
                case "repeated" | "contested":
                    await self._repeat(wish)
                case "delayed":
                    await self._plain(wish, not_before=wish.delay)
                case "urgent":
                    await self._plain(wish, deadline=wish.within)
                case _:
                    await self._plain(wish)
        finally:
            self.left -= 1
            self._places.release()

    # -- what programs do

    async def _plain(self, wish: Wish, **options: Any) -> None:
        if wish.raw:
            await self._raw[wish.project].complete(next(self._numbers), self._asked(wish, **options), self._still)
            return
        number = next(self._numbers)
        handle = await self._submit(number, wish.project, self._asked(wish, **options))
        if handle is not None:
            await self._see(number, wish.project, handle)

    async def _cancel(self, wish: Wish, *, pause: float = 0.0, **options: Any) -> None:
        """Submit, and think better of it."""
        number = next(self._numbers)
        handle = await self._submit(number, wish.project, self._asked(wish, **options))
        if handle is None:
            return
        await asyncio.sleep(pause)
        with contextlib.suppress(PenstockError):
            await handle.cancel()
            self._tell(CancelAcked(at=time.time(), project=wish.project, job=handle.id))
        await self._see(number, wish.project, handle)

    async def _repeat(self, wish: Wish) -> None:
        """The same key from several programs, in two projects; if contested, one of them asks for something else."""
        key = f"key {self._seed} {wish.number}"
        dice = random.Random(f"{self._seed} {wish.number}")
        asked = self._asked(wish, idempotency_key=key)
        other = {**asked, "messages": f"{asked['messages']} (another wish)"}
        elsewhere = next(project for project in PROJECTS if project != wish.project)
        async with asyncio.TaskGroup() as tasks:
            for project in (wish.project, wish.project, elsewhere):
                what = other if wish.shape == "contested" and dice.random() < 0.5 else asked
                tasks.create_task(self._again(project, what, dice.uniform(0.0, wish.delay)))

    async def _again(self, project: str, asked: dict[str, Any], pause: float) -> None:
        await asyncio.sleep(pause)
        number = next(self._numbers)
        handle = await self._submit(number, project, asked)
        if handle is not None:
            await self._see(number, project, handle)

    async def _stream(self, wish: Wish) -> None:
        number, asked = next(self._numbers), self._asked(wish)
        stream = self._sdk[wish.project].stream(**asked, timeout=None)
        self._submitted(number, time.time(), wish.project, asked, stream.job, streamed=True)
        places: list[tuple[int, int]] = []
        text: list[str] = []
        result = None
        try:
            async with asyncio.timeout_at(self.patience), stream:
                async for event in stream:
                    if not places and event.generation == 0:
                        self._tell(Acked(at=time.time(), number=number))
                    places.append((event.generation, event.sequence))
                    if isinstance(event, Switched):
                        text.clear()
                    elif isinstance(event, Token):
                        text.append(event.text)
                    elif isinstance(event, Finished):
                        result = event.result
        except JobFailed as error:
            result = error.result
        except (PenstockError, TimeoutError) as error:
            self._tell(Refused(at=time.time(), number=number, why=type(error).__name__))
        if result is not None:
            self._tell(Seen(at=time.time(), number=number, project=wish.project, body=result.model_dump_json()))
            told = tuple(place for place in places if place != (0, 0))
            self._tell(Streamed(at=time.time(), number=number, places=told, text="".join(text)))

    # -- the steps

    async def _submit(self, number: int, project: str, asked: dict[str, Any]) -> JobHandle | None:
        began = time.time()
        try:
            handle = await self._sdk[project].submit(**asked)
        except PenstockError as error:
            why = CONFLICT if isinstance(error, IdempotencyConflict) else type(error).__name__
            self._submitted(number, began, project, asked, "unknown-job")
            self._tell(Refused(at=time.time(), number=number, why=why))
            return None
        self._submitted(number, began, project, asked, handle.id)
        self._tell(Acked(at=time.time(), number=number))
        return handle

    async def _see(self, number: int, project: str, handle: JobHandle) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self.patience:
            try:
                record = await handle.record(timeout=30.0)
            except IdempotencyConflict:
                self._tell(Refused(at=time.time(), number=number, why=CONFLICT))
                return
            except PenstockError:
                await asyncio.sleep(1.0)  # not yet, or the broker is away: as programs do, again
            else:
                self._tell(Seen(at=time.time(), number=number, project=project, body=record.model_dump_json()))
                return

    def _still(self) -> bool:
        return asyncio.get_running_loop().time() < self.patience

    def _asked(self, wish: Wish, **options: Any) -> dict[str, Any]:
        prompt = f"Job {wish.number} of run {self._seed}: say something of {wish.shape} things."
        return {"model": wish.route, "messages": prompt, "lane": wish.lane, "max_tokens": 64, **options}

    def _submitted(
        self, number: int, at: float, project: str, asked: dict[str, Any], job: str, *, streamed: bool = False
    ) -> None:
        options = dict(asked)
        model, messages = options.pop("model"), options.pop("messages")
        request = prepare(model, messages, (), options, stream=False, new_id=job, token="t", now=at)
        self._tell(
            Submitted(
                at=at,
                number=number,
                producer="sdk",
                project=project,
                job=request.job,
                body_hash=request.ticket.body_hash,
                keyed=request.keyed,
                streamed=streamed,
                deadline=request.ticket.deadline,
                not_before=request.ticket.not_before,
            )
        )

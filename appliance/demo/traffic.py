"""Submits the requests at a steady rate and remembers what became of each, as its producer saw it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from appliance.demo.prompts import Prompt
from job_contracts.results import Result
from job_contracts.stream import Finished, Switched, Token
from producer_sdk import JobFailed, JobHandle, PenstockError, Producer

LONGEST = 400
"""Output tokens of an answer at most: what is reserved for a call, and counted if nobody can tell what it used."""


@dataclass(slots=True)
class Story:
    """One job as its producer saw it. Seconds from its submission; ``error`` if there never was a result."""

    prompt: Prompt
    job: str = ""
    result: Result | None = None
    seconds: float = 0.0
    first_token: float | None = None
    switched: int = 0
    spliced: bool = True
    """Whether the tokens that were streamed are the answer of the result, letter for letter."""
    error: str = ""


@dataclass(slots=True)
class Traffic:
    """All jobs of the tour. ``watch`` hears of every change, to draw it."""

    producer: Producer
    prompts: Sequence[Prompt]
    rate: float
    patience: float
    watch: Callable[[], None] = lambda: None
    stories: list[Story] = field(default_factory=list)
    submitted: int = 0
    finished: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def in_flight(self) -> int:
        """Jobs submitted and not finished."""
        return self.submitted - self.finished

    @property
    def failed_over(self) -> int:
        """Finished jobs that needed more than one attempt."""
        return sum(1 for story in self.stories if story.result is not None and len(story.result.attempts) > 1)

    async def until(self, share: float) -> None:
        """Wait until this share of the requests is submitted."""
        while self.submitted < share * len(self.prompts):
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Submit everything, ``rate`` a second, and wait for every result."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for index, prompt in enumerate(self.prompts):
                await asyncio.sleep(max(0.0, began + index / self.rate - loop.time()))
                story = Story(prompt)
                self.stories.append(story)
                group.create_task(self._follow(story))

    async def _follow(self, story: Story) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            handle = await self.producer.submit(**{"max_tokens": LONGEST, **story.prompt.arguments})
            story.job = handle.id
            self.submitted += 1
            self._moved.set()
            self.watch()
            if story.prompt.stream:
                with contextlib.suppress(JobFailed):  # its record says the same, and more
                    await self._read(story, handle, began)
            story.result = await handle.record(self.patience)
        except PenstockError as error:
            story.error = f"{type(error).__name__}: {error}"
        story.seconds = loop.time() - began
        self.finished += 1
        self.watch()

    async def _read(self, story: Story, handle: JobHandle, began: float) -> None:
        loop = asyncio.get_running_loop()
        said: list[str] = []
        async with handle.stream(timeout=self.patience) as events:
            async for event in events:
                match event:
                    case Token(text=text):
                        if story.first_token is None:
                            story.first_token = loop.time() - began
                        said.append(text)
                    case Switched():
                        story.switched += 1
                        said.clear()
                    case Finished(result=result):
                        story.spliced = result.answer is None or "".join(said) == result.answer.text
                    case _:
                        pass

"""Prompts that are tried from a page: the one room of the console that is a client, and submits as the edge does.

A job of it is a job like any other: it waits its turn, counts in every limit and is paid by a project, and where a key
was shown also by that key, within what the key may do over the API. Whoever stops reading cancels it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from job_contracts.jobs import LANES
from job_contracts.keys import Scope
from producer_sdk.errors import Closed, Forbidden, PenstockError, Timeout, Unreachable
from producer_sdk.nats_transport import NatsTransport
from producer_sdk.options import Behalf
from producer_sdk.producer import Producer
from runtime.connection import tls_of
from runtime.rates import Rates
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from job_contracts.jobs import Lane
    from job_contracts.stream import StreamEvent
    from producer_sdk.streams import JobStream
    from producer_sdk.transport import Transport
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.settings.services import Nats
    from runtime.telemetry import Telemetry

MOST, MOST_EACH = 64, 4
"""Prompts that may be under way at once: of all, and of one person or key, however often they are logged in."""
MOST_MODELS = 4
BEAT = 5.0
"""Seconds without a word after which a sign of life is given."""
BEYOND_DEADLINE = 10.0
"""Seconds beyond a job's deadline in which its record must have come."""


class Beyond(Exception):
    """More than a key, a page or this console allows; the text says what, for people."""


@dataclass(frozen=True, slots=True)
class Purse:
    """Who pays: a project, and of it a key if one was shown."""

    project: str
    key: str | None = None
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is tried, and with which routes."""

    models: tuple[str, ...]
    prompt: str
    system: str = ""
    max_tokens: int | None = None
    temperature: float | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """As the SDK takes them."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stands where an answer would: why there is none, in words."""

    why: str


Told = tuple[int, "list[StreamEvent | Refusal]"]
"""What came, and of which answer."""


@dataclass(slots=True)
class Place:
    """One of the prompts that are under way."""

    ended: str = "left"
    """How it ended, for those who count: ``left`` until somebody says otherwise."""


def within(config: Config, purse: Purse, asked: Asked, model: str) -> dict[str, Any]:
    """The options of a job, within what its key may do: the edge's rules, which a test compares. Raises Beyond."""
    scope = purse.scope
    if scope.routes is not None and model not in scope.routes:
        raise Beyond(f"this key may not use model {model!r}; use one of: {', '.join(scope.routes)}")
    lane = lane_of(config, purse)
    if scope.lanes is not None and lane not in scope.lanes:
        raise Beyond(f"this key may not use lane {lane!r}; use one of: {', '.join(scope.lanes)}")
    wanted = asked.max_tokens
    if scope.max_tokens is not None and (wanted or 0) > scope.max_tokens:
        message = f"max_tokens: {wanted} is more than this key may ask for; ask for at most {scope.max_tokens}"
        raise Beyond(message)
    options: dict[str, Any] = {
        "max_tokens": scope.max_tokens if wanted is None else wanted,
        "temperature": asked.temperature,
        "lane": lane,
        "deadline": config.gateway.timeout,
        "max_cost": scope.max_cost,
        "behalf": None if purse.key is None else Behalf(purse.key, scope.bounds()),
    }
    return {name: value for name, value in options.items() if value is not None}


def lane_of(config: Config, purse: Purse) -> Lane:
    """``rt`` where key and project may use it, for somebody waits; else the first lane that they may."""
    project = config.projects.get(purse.project)
    allowed = LANES if project is None else project.lanes
    wanted = [lane for lane in LANES if lane in allowed and lane in (purse.scope.lanes or LANES)]
    return wanted[0] if wanted else "std"


class Answer:
    """One model's answer. ``job`` is the id under which it is about to be submitted; ``None``: it is refused."""

    def __init__(self, model: str, stream: JobStream | None, why: str = "") -> None:
        self.model, self.job = model, None if stream is None else stream.job
        self._stream, self._why = stream, why

    async def come(self) -> AsyncGenerator[list[StreamEvent | Refusal], None]:
        """Submit the job and give what comes, to its end. Whoever stops before that cancels it."""
        if self._stream is None:
            yield [Refusal(self._why)]
            return
        async with self._stream as stream:
            while True:
                try:
                    some: list[StreamEvent | Refusal] = [*await stream.several()]
                except StopAsyncIteration:
                    return
                except PenstockError as error:
                    some = [Refusal(_words(error))]
                yield some
                if isinstance(some[-1], Refusal):
                    return


class Playing:
    """Submits prompts, for every project by a producer of its own, with the services' login."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        telemetry: Telemetry,
        *,
        transport: Callable[[str], Transport] | None = None,
    ) -> None:
        self._config, self._clock, self._telemetry = config, clock, telemetry
        self._transport = transport or _over(config.nats)
        self._made: dict[str, Producer] = {}
        self._under_way: Counter[str] = Counter()
        self._rates, self._since = Rates(), clock.monotonic()

    @property
    def under_way(self) -> int:
        """Prompts whose answers are being read."""
        return self._under_way.total()

    @contextmanager
    def place(self, by: str, purse: Purse, models: int) -> Iterator[Place]:
        """Room for one more prompt, and a word of how it ended. Raises Beyond where there is none."""
        place = Place("refused")
        try:
            if self._under_way.total() >= MOST:
                raise Beyond(f"{MOST} prompts are being answered here, which is as many as may be; try again later")
            if self._under_way[by] >= MOST_EACH:
                raise Beyond(f"{MOST_EACH} prompts of yours are being answered; wait for one of them, or stop it")
            place.ended = "left"
            self._under_way[by] += 1
            try:
                yield place
            finally:
                self._under_way[by] -= 1
                self._under_way += Counter()  # forget who has none
        finally:
            self._telemetry.emit("console.played", INFO, by=by, project=purse.project, models=models, ended=place.ended)

    def answers(self, purse: Purse, asked: Asked) -> list[Answer]:
        """One answer a model. Nothing is submitted before it is read."""
        return [self._answer(purse, asked, model) for model in asked.models]

    def _answer(self, purse: Purse, asked: Asked, model: str) -> Answer:
        try:
            options = within(self._config, purse, asked, model)
            self._count(purse)
            patience = self._config.gateway.timeout + BEYOND_DEADLINE
            producer = self._of(purse.project)
            return Answer(model, producer.stream(model=model, messages=asked.messages, timeout=patience, **options))
        except (Beyond, PenstockError) as error:
            return Answer(model, None, str(error))

    def _count(self, purse: Purse) -> None:
        """Each model is a request of the key. Edges share its rate and do not know of this console: see 0056."""
        rpm = purse.scope.rpm
        if purse.key is None or rpm is None:
            return
        wait = self._rates.wait(purse.key, rpm, 1.0, self._since, self._clock.monotonic())
        if wait > 0:
            raise Beyond(f"this key may send {rpm:g} requests a minute; try again in {wait:.0f} s")

    def _of(self, project: str) -> Producer:
        found = self._made.get(project)
        if found is None:
            found = self._made[project] = Producer(transport=self._transport(project), trace=None)
        return found

    async def start(self) -> None:
        """Nothing: a project's producer connects when somebody plays."""

    async def stop(self) -> None:
        """Let cancels go out, and disconnect."""
        made, self._made = list(self._made.values()), {}
        await asyncio.gather(*(one.close() for one in made))


async def merged(answers: list[Answer]) -> AsyncGenerator[Told | None, None]:
    """What comes of all, as it comes; ``None`` where nothing has come for ``BEAT`` seconds.

    Of each answer no more is held here than its reader takes up: what is beyond is the SDK's, which bounds it.
    """
    coming = [answer.come() for answer in answers]
    waiting = {asyncio.ensure_future(anext(one)): index for index, one in enumerate(coming)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield None
            for task in done:
                index = waiting.pop(task)
                try:
                    some = task.result()
                except StopAsyncIteration:
                    continue
                waiting[asyncio.ensure_future(anext(coming[index]))] = index
                yield index, some
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for one in coming:
            await one.aclose()


def _over(nats: Nats) -> Callable[[str], Transport]:
    tls = tls_of(nats)
    password = None if nats.password is None else nats.password.get_secret_value()

    def made(project: str) -> Transport:
        name = f"console for {project}"
        return NatsTransport(nats.url, project, password, user=nats.user, name=name, tls=tls)

    return made


def _words(error: PenstockError) -> str:
    """The SDK's words, but where they speak of its caller's connection and credential: those are the console's."""
    if isinstance(error, Unreachable) and error.maybe_stored:
        return "the queue did not confirm the job: it may run, until its deadline"
    if isinstance(error, Unreachable | Closed) or (isinstance(error, Forbidden) and error.field == "key"):
        return "the queue cannot be reached at the moment; try again"
    if isinstance(error, Timeout):
        return "no end of it was heard of in time; what became of it, the job's own page says"
    return str(error)

"""Edges know of each other, so that a key's rate is shared among them and not multiplied by their number.

Each says every ``every`` seconds that it is there. One that joins asks the others to say so at once, and begins with
empty buckets. One that does not hear itself any more, because its connection is gone, stops counting on a share before
the others take it (``SELF`` < ``OTHERS`` missed signs), so the shares never add up to more than the whole.
"""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.key_asking import ToldEdge
from job_contracts.keys import EdgeBeat
from runtime.bus.port import BusError
from runtime.service import Duty
from runtime.telemetry import DEBUG, INFO

if TYPE_CHECKING:
    from job_contracts.configured import Configured
    from runtime.bus.port import Bus, Message, Subscription
    from runtime.clock import Clock
    from runtime.telemetry import Telemetry

SELF, OTHERS = 2.5, 4.0
"""Signs of life that may be missing: of this edge until it has no share, of another until its share is divided."""
SETTLE = 0.5
"""Signs of life for which an edge that joins listens before it counts on a share."""
MOST = 1_000
"""Edges that are remembered; who announces more names than that is not an edge."""


class Peers(Duty):
    """Announces this edge and counts the others."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        *,
        name: str,
        every: float,
        configured: Configured | None = None,
    ) -> None:
        """``configured``: what it tells of this process's configuration."""
        super().__init__("peers", telemetry)
        self._bus = bus
        self._clock = clock
        self._every = every
        self.edge = f"{name} {token_hex(4)}"
        self._configured = configured
        self._heard: dict[str, float] = {}
        self._told: dict[str, Configured | None] = {}
        """What each has of the configuration, as it said last."""
        self._since: float | None = None
        self._listening: Subscription | None = None
        self._answering: asyncio.Task[None] | None = None

    def share(self, now: float) -> tuple[float, float]:
        """This edge's part of every rate, 0 while it is not known, and since when it has one (monotonic seconds)."""
        self._lose_if_silent(now)
        if self._since is None or now < self._since:
            return 0.0, now
        others = sum(1 for at in self._heard.values() if now - at <= OTHERS * self._every)
        return 1.0 / others, self._since

    def heard(self) -> list[ToldEdge]:
        """The edges that there are, this one among them."""
        now = self._clock.monotonic()
        return [
            ToldEdge(name=name, silent=now - at, configured=self._told.get(name))
            for name, at in self._heard.items()
            if now - at <= OTHERS * self._every
        ]

    async def opened(self) -> None:
        """Listen, then join."""
        self._listening = await self._bus.subscribe(subjects.edges(), self._hear)
        await self._say("joining")

    async def run(self) -> None:
        """Say it again and again."""
        while await self.pause(self._every):
            await self._beat()

    async def closed(self) -> None:
        """Give the share back."""
        if self._answering is not None:
            await self._answering
        await self._say("leaving")
        if self._listening is not None:
            await self._listening.close()
        self._heard.clear()
        self._told.clear()
        self._since = None

    async def _beat(self) -> None:
        now = self._clock.monotonic()
        self._lose_if_silent(now)
        self._heard = {name: at for name, at in self._heard.items() if now - at <= OTHERS * self._every}
        self._told = {name: told for name, told in self._told.items() if name in self._heard}
        await self._say("here" if self._since is not None else "joining")

    def _lose_if_silent(self, now: float) -> None:
        """Whoever has not heard itself for too long has not heard the others either: it must ask who is there."""
        own = self._heard.get(self.edge)
        if own is None or now - own > SELF * self._every:
            self._since = None

    async def _say(self, event: str) -> None:
        beat = EdgeBeat.model_validate({"edge": self.edge, "event": event, "configured": self._configured})
        try:
            await self._bus.publish(subjects.edges(), encode(beat))
        except BusError as error:
            self.telemetry.emit("edge.not_announced", DEBUG, error=str(error))

    def _hear(self, message: Message) -> None:
        try:
            beat = decode(EdgeBeat, message.data)
        except ContractError:
            return
        now = self._clock.monotonic()
        if beat.event == "leaving":
            self._heard.pop(beat.edge, None)
            self._told.pop(beat.edge, None)
            return
        if beat.edge == self.edge:
            self._lose_if_silent(now)  # nobody may have asked for its share meanwhile
        if beat.edge not in self._heard:
            if len(self._heard) >= MOST:
                return
            self.telemetry.emit("edge.joined", INFO, edge=beat.edge)
        self._heard[beat.edge], self._told[beat.edge] = now, beat.configured
        if beat.event == "joining":
            if beat.edge != self.edge:
                self._answer()
            elif self._since is None:  # the others were asked, which an older sign of its own does not prove
                self._since = now + SETTLE * self._every

    def _answer(self) -> None:
        """Let one that joins know at once; at most one such answer is under way."""
        if self._answering is None or self._answering.done():
            self._answering = asyncio.get_running_loop().create_task(self._say("here"))

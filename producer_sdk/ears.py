"""What is listened to beside the jobs under our own stem: one subscription a job, or one for all that have a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from producer_sdk.replies import EVERYTHING

if TYPE_CHECKING:
    from producer_sdk.replies import Replies, Watch
    from producer_sdk.transport import Transport

MANY_KEYED = 16
"""Jobs with keys under way from which on one subscription hears those of the whole project: to subscribe for each job
costs the broker and us more than to pass over what is said of others' jobs."""
WIDE_IDLE = 30.0
"""Seconds without such a job until that subscription is given up."""
STRANGERS, MOST_STRANGERS = 2_000, 8
"""Messages after which it is judged, and how many of others' jobs may come with one of ours."""
NARROW_FOR = 300.0
"""Seconds until it is tried again where there were more."""

_KEYED = f"{subjects.KEYED_STEM}-"


class Ears:
    """The subscriptions of one producer. A subscription holds for whatever is sent after the call that made it."""

    def __init__(self, transport: Transport, stem: str, replies: Replies) -> None:
        self._transport = transport
        self._own = f"{stem}-"
        self._replies = replies
        self._listening: dict[str, Watch] = {}
        self._alone: set[str] = set()
        """Those with a subscription of their own."""
        self._wide = False
        self._wide_used = self._narrow_until = 0.0

    async def listen(self, watch: Watch) -> None:
        """Hear of a job whose id does not begin with our stem."""
        job = watch.job
        if job in self._listening or job.startswith(self._own):
            return
        self._listening[job] = watch
        if job.startswith(_KEYED):
            now = asyncio.get_running_loop().time()
            if not self._wide and len(self._listening) >= MANY_KEYED and now >= self._narrow_until:
                await self._widen()
            if self._wide:
                self._wide_used = now
                return
        await self._listen_alone(job)

    async def sweep(self, now: float) -> None:
        """End what nobody waits for any more."""
        for job, watch in list(self._listening.items()):
            if watch.done or not (watch.arriving or watch in self._replies.attended):
                await self._unlisten(job, watch)
        if self._wide:
            await self._reconsider(now)

    async def _listen_alone(self, job: str) -> None:
        self._alone.add(job)
        await self._transport.listen(subjects.live_job(self._transport.project, job))

    async def _unlisten(self, job: str, watch: Watch) -> None:
        del self._listening[job]
        # From here on messages pass unheard: whoever waits again must ask.
        watch.missed = EVERYTHING
        if job in self._alone:
            self._alone.discard(job)
            await self._transport.ignore(subjects.live_job(self._transport.project, job))

    async def _widen(self) -> None:
        self._wide = True
        self._replies.known = self._replies.strange = 0
        try:
            await self._transport.listen(self._all_keyed)
        except BaseException:
            self._wide = False
            raise

    async def _reconsider(self, now: float) -> None:
        """Give the wide subscription up when it is not used, or when it brings too much of others' jobs."""
        known, strange = self._replies.known, self._replies.strange
        if known + strange >= STRANGERS:
            self._replies.known = self._replies.strange = 0
            if strange > MOST_STRANGERS * known:
                self._narrow_until = now + NARROW_FOR
        if now >= self._narrow_until and now - self._wide_used < WIDE_IDLE:
            return
        self._wide = False
        for job in list(self._listening):
            if job in self._listening and job not in self._alone:
                await self._listen_alone(job)
        if not self._wide:
            await self._transport.ignore(self._all_keyed)

    @property
    def _all_keyed(self) -> str:
        return subjects.live(self._transport.project, subjects.KEYED_STEM)

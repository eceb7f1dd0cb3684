"""Every job without a result: queued, waiting for a time, under way, or about to end; and what is decided of them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from scheduler.policy import seats
from scheduler.policy.decisions import Abort, Finish
from scheduler.policy.early import EarlyCancels
from scheduler.policy.explain import waits_for
from scheduler.policy.failover import backoff, exhausted
from scheduler.policy.intake import impossible
from scheduler.policy.jobs import BLOCKED, ENDING, FLYING, GONE, PARKED, QUEUED, Job
from scheduler.policy.queues import Calendar
from scheduler.policy.shortfalls import hopeless, unaffordable

if TYPE_CHECKING:
    from scheduler.policy.facts import CancelAsked
    from scheduler.policy.jobs import Story
    from scheduler.policy.turns import Deployment, Route
    from scheduler.policy.world import World

FORGOTTEN = 4096
"""Jobs forgotten between two sweeps of those that wait for a time, at least."""


class Backlog:
    """Moves jobs between their states; what it decides on the way is collected until it is asked for."""

    __slots__ = ("_calendar", "_early", "_ending", "_forgotten", "_parked", "_pending", "_world")

    def __init__(self, world: World) -> None:
        self._world = world
        self._calendar = Calendar()
        self._parked: list[tuple[float, int, Job]] = []
        self._forgotten = 0
        self._pending: list[Abort] = []
        self._ending: dict[Job, Finish] = {}
        self._early = EarlyCancels(world.rules.pace)

    # -------------------------------------------------------------------------------------------------------- moving

    def add(self, job: Job) -> None:
        """A new job; the caller decides where it goes."""
        job.tenant.jobs[job.id] = job
        self._world.places.add(job)
        job.tenant.bytes += job.size
        if job.wallet is not None and job.wallet.owner is not None:
            job.wallet.owner.jobs += 1
            job.wallet.owner.bytes += job.size
        self._calendar.add(job)

    def enqueue(self, job: Job) -> None:
        """It waits for its turn among the jobs that may go to the same places."""
        if job.seat is not None:
            seats.bind(self._world, job)
        route = job.route
        if isinstance(route, str):
            return
        barred, tried = route.barred(job), 0
        if job.story is not None:
            barred, tried = barred | job.story.barred, job.story.tried
        if job.priced:
            barred |= self._dear(job, route, barred)
            if job.state == ENDING:
                return
        if barred == route.everywhere:
            self.end(job, JobState.FAILED, impossible(job, route))
            return
        flow = route.group_of(job, barred, tried).flow(job.lane, job.tenant)
        job.flow = flow
        job.state = QUEUED
        flow.group.joined(job.lane)
        flow.queue.push(job)
        if flow.queue.count == 1:
            flow.enter()

    def _dear(self, job: Job, route: Route, barred: int) -> int:
        """Mask of the further deployments where money keeps it from; if none is left, it ends."""
        reasons: list[tuple[str, str]] = []
        mask = 0
        for index, deployment in enumerate(route.deployments):
            if not barred >> index & 1:
                reason = hopeless(self._world, job, deployment, self._world.accounts.now)
                if reason is not None:
                    reasons.append((deployment.name, reason))
                    mask |= 1 << index
        if reasons and barred | mask == route.everywhere:
            self.end(job, JobState.FAILED, unaffordable(job, route, reasons))
        return mask

    def park(self, job: Job, until: float) -> None:
        """It is not eligible before then. The time says when it joins its queue, never which place it has there."""
        self.leave(job)
        job.state = PARKED
        if job.story is not None:
            job.story.due = until
        heappush(self._parked, (until, job.seq, job))

    def wait_for_budget(self, job: Job, story: Story, delay: float, now: float) -> None:
        """Its project has used up its retries: it waits for more, longer each time, but not for ever."""
        pace = self._world.rules.pace
        story.patience += 1
        if story.patience > pace.budget_waits and story.last is not None:
            why = f"{story.attempt} attempts, because its project has used up its retries"
            self.end(job, JobState.FAILED, exhausted(story.last, why))
            return
        self.park(job, now + max(delay, 4.0 * backoff(job.id, story.patience, pace)))

    def leave(self, job: Job) -> None:
        """It does not wait for its turn any more."""
        if job.state == QUEUED and job.flow is not None:
            job.state = PARKED
            job.flow.group.left(job.lane)
            job.flow.queue.leave()
        elif job.state == BLOCKED:
            job.state = PARKED
            self._world.accounts.departed += 1
            for payer in () if job.wallet is None else job.wallet.payers:
                payer.stir()

    def succeed(self, deployment: Deployment) -> None:
        """Its provider does not have its model: whoever waits for it joins a queue for its successor, too.

        It looks at every job there is, once each time a deployment that has a successor turns out to be gone.
        """
        routes = {route for route in self._world.routes.values() if deployment.name in route.rule.before.values()}
        for tenant in self._world.tenants.values() if routes else ():
            for job in [each for each in tenant.jobs.values() if each.state == QUEUED and each.route in routes]:
                self.leave(job)
                self.enqueue(job)

    def forget(self, job: Job, now: float) -> None:
        """Its result exists."""
        self.leave(job)
        job.state = GONE
        self._ending.pop(job, None)
        self._calendar.gone(job, now)
        del job.tenant.jobs[job.id]
        self._world.places.remove(job)
        job.tenant.bytes -= job.size
        if job.wallet is not None and job.wallet.owner is not None:
            job.wallet.owner.jobs -= 1
            job.wallet.owner.bytes -= job.size
        self._forgotten += 1
        if self._forgotten > max(FORGOTTEN, len(self._parked)):
            self._forgotten = 0
            self._parked = [entry for entry in self._parked if entry[2].state == PARKED]
            heapify(self._parked)

    def revive(self, job: Job) -> bool:
        """It turns out to be under way: take back an end that nobody was told of. False if somebody was."""
        return job.state != ENDING or self._ending.pop(job, None) is not None

    # -------------------------------------------------------------------------------------------------------- ending

    def end(self, job: Job, state: JobState, failure: Failure) -> None:
        """Decide the job's end; it stays known until its result record is seen."""
        self.leave(job)
        job.state = ENDING
        story, route = job.story, job.route
        stages = None if isinstance(route, str) else route.rule.stages
        draft = None if stages is None else stages.answer(job, state)
        self._ending[job] = Finish(
            project=job.tenant.name,
            job=job.id,
            seq=job.seq,
            state=state if draft is None else JobState.SUCCEEDED,
            failure=failure,
            history=() if story is None else story.history,
            route=job.route_name,
            token=job.token,
            body_hash=job.body_hash,
            submitted=job.submitted,
            attempt=0 if story is None else story.attempt,
            trial=None if job.seat is None else job.seat.ending(state, failure, answered=draft is not None),
            draft=draft,
        )

    def cancel(self, job: Job, reason: str) -> None:
        """It is nowhere under way: it ends as its producer wished."""
        self.end(job, JobState.CANCELLED, Failure(kind=FailureKind.CANCELLED, message=reason or "cancelled"))

    def expire(self, job: Job, waited_for: str) -> None:
        """Its deadline has passed."""
        story = job.story
        last = "" if story is None or story.last is None else f"; its last attempt ended with {story.last.kind.value}"
        failure = Failure(
            kind=FailureKind.EXPIRED,
            message=f"its deadline passed while it waited for {waited_for}{last}",
            field="deadline",
            remedy="give it more time, a lane with a larger share, or a route with more deployments",
        )
        self.end(job, JobState.EXPIRED, failure)

    def abort(self, job: Job) -> None:
        """Whatever is under way of it is to be stopped; said once an attempt."""
        story = job.told()
        if not story.abort_asked:
            story.abort_asked = True
            self.stop(job, story.attempt if story.held is None else story.held.attempt, story.at or "")
            if story.second is not None:
                self.stop(job, story.second.attempt, story.second.deployment.name)

    def stop(self, job: Job, attempt: int, deployment: str, *, outrun: bool = False) -> None:
        """This attempt is to be stopped."""
        self._pending.append(Abort(job.tenant.name, job.id, attempt, deployment, outrun))

    # -------------------------------------------------------------------------------------------------- early cancels

    def remember_cancel(self, fact: CancelAsked, now: float) -> None:
        """A cancel came before its job (or long after it)."""
        self._early.remember(fact.project, fact.job, fact.token, fact.reason, now)

    def cancelled_early(self, job: Job) -> str | None:
        """The reason, if this submission was cancelled before it was known."""
        return self._early.take(job.tenant.name, job.id, job.token)

    # ---------------------------------------------------------------------------------------------------------- time

    def wake(self, now: float) -> None:
        """Jobs whose time has come join their queues; jobs whose time is over end, or are stopped."""
        while self._parked and self._parked[0][0] <= now:
            due, _, job = heappop(self._parked)
            story = job.story
            if job.state != PARKED or (story is not None and story.due > due):
                continue
            if story is not None and story.owes:
                story.owes = not job.tenant.retries.spend(now)
                if story.owes:
                    self.wait_for_budget(job, story, 0.0, now)
                    continue
            self.enqueue(job)
        for job in self._calendar.due(now):
            if job.state == FLYING:
                self.abort(job)
            elif job.state != ENDING:
                self.expire(job, waits_for(self._world, job, now)[0])

    def next_time(self) -> float | None:
        """When ``wake`` will have something to do."""
        deadline = self._calendar.next()
        if not self._parked:
            return deadline
        return self._parked[0][0] if deadline is None else min(deadline, self._parked[0][0])

    @property
    def decided(self) -> bool:
        """Whether something is decided that nobody has been told."""
        return bool(self._ending or self._pending)

    def decisions(self) -> list[Finish | Abort]:
        """What was decided since the last time, in the order it happened."""
        told: list[Finish | Abort] = [*self._ending.values(), *self._pending]
        self._ending.clear()
        self._pending.clear()
        return told

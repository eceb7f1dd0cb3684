"""How jobs come to a board: they are submitted, and a new leader finds some of them under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.followups import follows
from job_contracts.jobs import JobState
from scheduler.policy import grants, seats
from scheduler.policy.costs import worst
from scheduler.policy.intake import refusal
from scheduler.policy.jobs import FLYING, Job
from scheduler.policy.seats import Seat

if TYPE_CHECKING:
    from scheduler.policy.backlog import Backlog
    from scheduler.policy.facts import InFlight, Submitted
    from scheduler.policy.hedges import Hedges
    from scheduler.policy.world import World


class Arrivals:
    """Places what arrives in the world, and in the backlog."""

    __slots__ = ("_backlog", "_hedges", "_world")

    def __init__(self, world: World, backlog: Backlog, hedges: Hedges) -> None:
        self._world, self._backlog, self._hedges = world, backlog, hedges

    def submitted(self, fact: Submitted, now: float) -> None:
        """A job is to be done: it is queued, parked, or refused at once. One that is known changes nothing."""
        world, backlog = self._world, self._backlog
        tenant = world.tenant(fact.project, fact.job)
        if fact.job in tenant.jobs:
            return
        route = world.routes.get(fact.route)
        deadline = fact.deadline
        if deadline is None:
            deadline = min(fact.submitted, now) + world.rules.default_deadline
        wallet = world.wallet(tenant, fact, now)
        refused = refusal(
            fact,
            tenant.rule,
            route,
            world.rules,
            queued=len(tenant.jobs) + fact.unread if fact.counted else 0,
            size=tenant.bytes,
            key=None if wallet is None else wallet.owner,
        )
        job = Job(fact, tenant, route, deadline, wallet, demands=world.demands(tenant, fact))
        if fact.route in world.trials.on and not follows(fact.job):
            job.seat = Seat(fact)
        backlog.add(job)
        cancelled = backlog.cancelled_early(job)
        if cancelled is not None:
            job.told().cancel = cancelled  # if it turns out to be under way, that has to be stopped
            backlog.cancel(job, cancelled)
        elif refused is not None:
            backlog.end(job, JobState.FAILED, refused)
        elif fact.not_before is not None and fact.not_before > now and self._can_be_served(job):
            backlog.park(job, fact.not_before)
        else:
            backlog.enqueue(job)

    @staticmethod
    def _can_be_served(job: Job) -> bool:
        return isinstance(job.route, str) or job.route.barred(job) != job.route.everywhere

    def in_flight(self, fact: InFlight, now: float) -> None:
        """An attempt that another leader sent is under way, of a job that was submitted before."""
        job = self._world.job(fact.project, fact.job)
        deployment = self._world.deployments.get(fact.deployment)
        accounts = self._world.accounts
        accounts.recover(
            fact, job, None if job is None or deployment is None else worst(job, deployment, accounts.wall(now))
        )
        if job is None or fact.attempt <= (0 if job.story is None else job.story.attempt):
            return
        if not self._backlog.revive(job) or (fact.hedge and self._hedges.adopted(job, fact, deployment)):
            return
        self._backlog.leave(job)
        story = job.told()
        for held in (story.held, story.second):
            if held is not None:
                grants.release(job, held, held.tokens, 1, now)
        seats.recall(self._world, job, fact)
        story.recall(fact.history, job.route)
        story.attempt = fact.attempt
        story.at = fact.deployment
        story.draft = fact.draft or story.draft
        story.abort_asked = False
        job.state = FLYING
        if deployment is not None:
            grants.adopt(job, fact.attempt, deployment, (fact.input_tokens, fact.output_tokens))
        if story.cancel is not None:
            self._backlog.abort(job)

"""What follows when an attempt has ended: its reservation is settled, its place judged, its job sent on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Action, FailureKind
from job_contracts.jobs import JobState
from scheduler.policy import grants
from scheduler.policy.buckets import NEVER
from scheduler.policy.facts import Settled
from scheduler.policy.failover import Case, Conclude, Requeue, next_step
from scheduler.policy.jobs import ENDING, FLYING, PARKED
from scheduler.policy.once_more import standing

if TYPE_CHECKING:
    from job_contracts.results import AttemptRecord
    from scheduler.policy.backlog import Backlog
    from scheduler.policy.domains import Tokens
    from scheduler.policy.facts import AttemptEnded
    from scheduler.policy.hedges import Hedges
    from scheduler.policy.jobs import Held, Job, Story
    from scheduler.policy.turns import Deployment, Route
    from scheduler.policy.world import World

SLOW = frozenset({FailureKind.FIRST_TOKEN_TIMEOUT, FailureKind.STALLED, FailureKind.TOTAL_TIMEOUT})
"""Ends that say how slow a place is."""


class Aftermath:
    """Ends of attempts, with and without the job's result."""

    __slots__ = ("_backlog", "_hedges", "_world")

    def __init__(self, world: World, backlog: Backlog, hedges: Hedges) -> None:
        self._world = world
        self._backlog = backlog
        self._hedges = hedges

    def ended(self, job: Job, fact: AttemptEnded, now: float) -> None:
        """An attempt ended without a result. What is older than the job's newest attempt says nothing new."""
        story = job.told()
        if (story.second is not None or fact.hedge) and self._hedges.ended(job, story, fact, now):
            return
        # A hedge that is over may have had a higher number than the attempt that is under way.
        newest = story.attempt if story.held is None else story.held.attempt
        stale = fact.attempt < newest or (fact.attempt == newest and job.state != FLYING)
        if stale or job.state == ENDING:
            return
        self._backlog.leave(job)
        held = story.held
        if held is not None and held.attempt == fact.attempt:
            if fact.drafted and fact.record is not None:
                self._learn(job, held, _drafted(fact, fact.record), now)
            else:
                used = grants.spent(held, fact.failure, fact.record, called=fact.called)
                grants.release(job, held, used, 1 if fact.called else 0, now)
                gone = held.deployment.gone
                grants.bench(self._world, held, fact.failure, now)
                if held.deployment.gone and not gone:
                    self._backlog.succeed(held.deployment)
            # Of a grant of an earlier owner it is not known since when it has been under way.
            if held.deployment.speed is not None and fact.failure.kind in SLOW and held.since > -NEVER:
                held.deployment.speed.see(None, max(now - held.since, 0.0), held.deployment.flying + 1, now)
        elif held is not None:
            grants.drop(job, held, now)
        story.attempt = max(story.attempt, fact.attempt)
        story.last, story.last_deployment = fact.failure, fact.deployment
        story.at = None
        story.abort_asked = False
        if fact.record is not None:
            story.history = (*story.history, fact.record)
        if fact.failure.permits.counts:
            story.counted += 1
            story.waits = 0
        if fact.failure.kind is FailureKind.WORKER_LOST:
            story.deaths += 1
        job.state = PARKED
        story.draft = fact.draft or story.draft
        if fact.drafted:
            self._to_verify(job, story, fact, now)
        else:
            self._judge(job, story, fact, now)

    def _to_verify(self, job: Job, story: Story, fact: AttemptEnded, now: float) -> None:
        """It has a draft: it goes on to those that verify, as a job that has not failed anywhere."""
        story.last = story.last_deployment = None
        story.tried = story.waits = 0
        if story.cancel is not None:
            self._backlog.cancel(job, story.cancel)
        elif job.deadline <= now:
            self._backlog.expire(job, f"the end of attempt {fact.attempt} at {fact.deployment}")
        else:
            self._backlog.enqueue(job)

    def _judge(self, job: Job, story: Story, fact: AttemptEnded, now: float) -> None:
        """Where the job goes now."""
        failure, over = fact.failure, job.deadline <= now
        if story.cancel is not None:
            self._backlog.cancel(job, story.cancel)
        elif over and (failure.kind is FailureKind.CANCELLED or failure.permits.action is not Action.REPORT):
            self._backlog.expire(job, f"the end of attempt {fact.attempt} at {fact.deployment}")
        elif isinstance(job.route, str):
            self._backlog.end(job, JobState.FAILED, failure)
        else:
            case = self._case(job, job.route, story, fact, now)
            step = next_step(case, self._world.rules.pace)
            if isinstance(step, Conclude):
                self._backlog.end(job, step.state, step.failure)
            else:
                # What calendar and constraints say is asked again each time: a successor's turn may have come.
                story.barred |= step.barred & ~case.barred
                self._requeue(job, story, step, now)

    def _case(self, job: Job, route: Route, story: Story, fact: AttemptEnded, now: float) -> Case:
        failed = route.index(fact.deployment)
        return Case(
            job=job.id,
            failure=fact.failure,
            route=route.rules,
            failed=failed,
            input_estimate=job.estimate,
            trims=route.trims and fact.called,
            counted=story.counted,
            deaths=story.deaths,
            tried=story.tried,
            barred=story.barred | route.barred(job),
            benched=sum(1 << place for place, each in enumerate(route.deployments) if each.benched(now)),
            returns=story.returns,
            waits=story.waits,
            max_attempts=route.rule.max_attempts,
            max_deaths=self._world.rules.max_worker_deaths,
            standing=standing(job, route, story, failed, now),
            reports_invalid=route.rule.reports_invalid,
        )

    def _requeue(self, job: Job, story: Story, step: Requeue, now: float) -> None:
        story.tried = step.tried
        counts = story.last is not None and story.last.permits.counts
        if not counts:
            story.waits += 1
        story.returns += step.returns
        story.owes = step.paid and not job.tenant.retries.spend(now)
        if counts and not step.paid:
            job.tenant.retries.note(now)
        if story.owes:
            self._backlog.wait_for_budget(job, story, step.delay, now)
        elif step.delay > 0:
            self._backlog.park(job, now + step.delay)
        else:
            self._backlog.enqueue(job)

    def settled(self, job: Job, fact: Settled, now: float) -> None:
        """The job's result exists; its newest attempt wrote it, or somebody else did."""
        if job.story is not None and job.story.second is not None:
            self._hedges.settled(job, job.story, fact, now)
        held = None if job.story is None else job.story.held
        if held is not None and held.pending and fact.deployment is None:
            grants.undo(job, held, now)
        elif held is not None and held.attempt == fact.attempt and held.deployment.name == fact.deployment:
            self._learn(job, held, fact, now)
        elif held is not None:
            # What this attempt still does is for nothing.
            grants.drop(job, held, now)
            self._backlog.stop(job, held.attempt, held.deployment.name)
        else:
            self._learn_beside(job, fact, now)
        self._backlog.forget(job, now)

    def _learn_beside(self, job: Job, fact: Settled, now: float) -> None:
        """Another process leads: what it learns of lengths must be known to whoever takes over."""
        deployment = self._world.deployments.get(fact.deployment or "")
        if deployment is not None and fact.state is JobState.SUCCEEDED and fact.usage.reported:
            self._learn_sizes(job, deployment, fact, grants.metered(deployment, fact.usage), now)

    def _learn(self, job: Job, held: Held, fact: Settled, now: float) -> None:
        deployment = held.deployment
        told = fact.usage.reported or fact.usage.total > 0
        used = grants.metered(deployment, fact.usage) if told else held.tokens
        grants.release(job, held, used, 1, now)
        if fact.state is not JobState.SUCCEEDED:
            deployment.breaker.left(probe=held.probe)
            return
        deployment.breaker.succeeded(probe=held.probe)
        deployment.gate.domain.served()
        if fact.seconds > 0:
            deployment.seconds.see(fact.seconds)
            if deployment.speed is not None:
                deployment.speed.see(fact.first_token, fact.seconds, deployment.flying + 1, now)
        self._learn_sizes(job, deployment, fact, used if told else None, now)

    def _learn_sizes(self, job: Job, deployment: Deployment, fact: Settled, used: Tokens | None, now: float) -> None:
        """How long prompt and answer were, where its session's prompt is cached. A question about a draft, and the
        verdict, are no measure of either.
        """
        route = job.route
        if not isinstance(route, str):
            stages, index = route.rule.stages, route.index(deployment.name)
            if stages is not None and index is not None and not stages.drafting >> index & 1:
                return
            if route.planner is not None:
                route.planner.learn(job, deployment, fact, now)
        if used is not None:
            counted = job.estimate if isinstance(route, str) else route.counted(job, deployment.rule)
            self._world.estimates.learn(job.tenant.name, job.route_name, deployment.name, counted, used)


def _drafted(fact: AttemptEnded, record: AttemptRecord) -> Settled:
    """A draft, as what its place is judged by: an answer."""
    told = (fact.project, fact.job, JobState.SUCCEEDED, fact.attempt, fact.deployment)
    return Settled(*told, record.usage, record.seconds, record.first_token)

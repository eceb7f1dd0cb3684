"""The one door of the policy: apply facts, decide, confirm, explain. It holds every queued job and every reservation."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from scheduler.policy import grants
from scheduler.policy.buckets import NEVER
from scheduler.policy.decisions import Abort, Decision, Dispatch, Finish
from scheduler.policy.explain import Explanation, cost, explain, waits_for
from scheduler.policy.facts import AttemptEnded, CancelAsked, InFlight, LimitsRead, PoolSeen, Settled, Submitted
from scheduler.policy.failover import Case, Conclude, backoff, exhausted, next_step
from scheduler.policy.intake import impossible, refusal
from scheduler.policy.jobs import ENDING, FLYING, GONE, PARKED, QUEUED, Job
from scheduler.policy.queues import Calendar
from scheduler.policy.tally import Counts, count
from scheduler.policy.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scheduler.policy.facts import Fact
    from scheduler.policy.jobs import Held, Story
    from scheduler.policy.rules import Rules
    from scheduler.policy.turns import Gate


class Board:
    """All state of one leader's term. Deterministic: the same facts at the same times give the same decisions.

    ``now`` is seconds on one monotonic scale throughout; it must not go back between calls.
    """

    def __init__(self, rules: Rules, *, now: float = 0.0) -> None:
        self._world = World(rules)
        self._rules = rules
        self._calendar = Calendar()
        self._parked: list[tuple[float, int, Job]] = []
        self._pending: list[Finish | Abort] = []
        self._ending: dict[Job, Finish] = {}
        self._early: OrderedDict[tuple[str, str], tuple[str, str, float]] = OrderedDict()
        self._gates: list[Gate] = list(self._world.gates.values())
        self._start = 0
        self._more = False
        self._now = now
        self._handlers = {
            Submitted: self._submitted,
            InFlight: self._in_flight,
            CancelAsked: self._cancel_asked,
            AttemptEnded: self._attempt_ended,
            Settled: self._settled,
            LimitsRead: self._limits_read,
            PoolSeen: self._pool_seen,
        }

    # --------------------------------------------------------------------------------------------------------- facts

    def apply(self, fact: Fact, now: float) -> None:
        """Something happened. A fact that is told twice, too late, or of an unknown job changes nothing."""
        self._now = now
        self._handlers[type(fact)](fact, now)  # type: ignore[operator]

    def _submitted(self, fact: Submitted, now: float) -> None:
        world = self._world
        tenant = world.tenant(fact.project)
        if fact.job in tenant.jobs:
            return
        route = world.routes.get(fact.route)
        deadline = fact.deadline
        if deadline is None:
            deadline = min(fact.submitted, now) + self._rules.default_deadline
        job = Job(fact, tenant, route, deadline)
        refused = refusal(fact, tenant.rule, route, self._rules, len(tenant.jobs))
        tenant.jobs[fact.job] = job
        self._calendar.add(job)
        if self._early:
            cancel = self._early.pop((fact.project, fact.job), None)
            if cancel is not None and cancel[0] == fact.token:
                job.told().cancel = cancel[1]
                self._end(job, JobState.CANCELLED, _cancelled(cancel[1]))
                return
        if refused is not None or route is None:
            if refused is not None:
                self._end(job, JobState.FAILED, refused)
            return
        if route.barred(fact.needs, fact.input_estimate) == route.everywhere:
            self._end(job, JobState.FAILED, impossible(fact, route))
        elif fact.not_before is not None and fact.not_before > now:
            self._park(job, fact.not_before)
        else:
            self._enqueue(job)

    def _in_flight(self, fact: InFlight, now: float) -> None:
        job = self._world.job(fact.project, fact.job)
        if job is None or fact.attempt <= (job.story.attempt if job.story is not None else 0):
            return
        if job.state == ENDING and self._ending.pop(job, None) is None:
            return
        self._leave_queue(job)
        grants.release(job, (0, 0), 1, now)
        job.state = FLYING
        story = job.told()
        story.recall(fact.history, job.route)
        story.attempt = fact.attempt
        deployment = self._world.deployments.get(fact.deployment)
        if deployment is not None:
            grants.adopt(job, fact.attempt, deployment, (fact.input_tokens, fact.output_tokens), now)
        if story.cancel is not None:
            self._abort(job, fact.deployment)

    def _cancel_asked(self, fact: CancelAsked, now: float) -> None:
        job = self._world.job(fact.project, fact.job)
        if job is None:
            self._remember_cancel(fact, now)
            return
        if job.token != fact.token or job.state == ENDING:
            return
        story = job.told()
        story.cancel = fact.reason
        if job.state == FLYING:
            held = story.held
            self._abort(job, held.deployment.name if held is not None else story.last_deployment or "")
        else:
            self._end(job, JobState.CANCELLED, _cancelled(fact.reason))

    def _attempt_ended(self, fact: AttemptEnded, now: float) -> None:
        job = self._world.job(fact.project, fact.job)
        if job is None or job.state == ENDING:
            return
        story = job.told()
        if fact.attempt < story.attempt or (fact.attempt == story.attempt and job.state != FLYING):
            return
        failure = fact.failure
        held = story.held
        if held is not None and held.attempt == fact.attempt:
            used = grants.spent(held, failure, fact.record, called=fact.called)
            grants.release(job, used, 1 if fact.called else 0, now)
            grants.bench(self._world, held, failure, now)
        else:
            grants.release(job, (0, 0), 1, now)
        story.attempt = fact.attempt
        story.last, story.last_deployment = failure, fact.deployment
        if fact.record is not None:
            story.history = (*story.history, fact.record)
        story.abort_asked = False
        self._leave_queue(job)
        self._judge(job, story, failure, fact.deployment, now)

    def _judge(self, job: Job, story: Story, failure: Failure, deployment: str, now: float) -> None:
        """An attempt of the job has failed and is settled: what now?"""
        if failure.permits.counts:
            story.counted += 1
            story.waits = 0
        if failure.kind is FailureKind.WORKER_LOST:
            story.deaths += 1
        job.state = PARKED
        if story.cancel is not None:
            self._end(job, JobState.CANCELLED, _cancelled(story.cancel))
            return
        route = job.route
        if isinstance(route, str):
            self._end(job, JobState.FAILED, failure)
            return
        step = next_step(
            Case(
                job=job.id,
                failure=failure,
                route=route.rules,
                failed=route.index(deployment),
                input_estimate=job.estimate,
                counted=story.counted,
                deaths=story.deaths,
                tried=story.tried,
                barred=story.barred | route.barred(job.needs, job.estimate),
                benched=sum(1 << i for i, d in enumerate(route.deployments) if not d.breaker.allows(now)),
                returns=story.returns,
                waits=story.waits,
                max_attempts=route.rule.max_attempts,
                max_deaths=self._rules.max_worker_deaths,
            ),
            self._rules.pace,
        )
        if isinstance(step, Conclude):
            self._end(job, step.state, step.failure)
            return
        story.tried, story.barred = step.tried, step.barred
        if not failure.permits.counts:
            story.waits += 1
        if step.returns:
            story.returns += 1
            story.owes = not job.tenant.retries.spend(now)
        elif failure.permits.counts:
            job.tenant.retries.note(now)
        if story.owes:
            self._wait_for_budget(job, story, step.delay, now)
        elif step.delay > 0:
            self._park(job, now + step.delay)
        else:
            self._enqueue(job)

    def _wait_for_budget(self, job: Job, story: Story, delay: float, now: float) -> None:
        """Its project has had its share of retries: it waits for more, longer each time, but not for ever."""
        pace = self._rules.pace
        story.patience += 1
        if story.patience > pace.budget_waits and story.last is not None:
            why = f"{story.attempt} attempts, because its project has used up its retries"
            self._end(job, JobState.FAILED, exhausted(story.last, why))
            return
        self._park(job, now + max(delay, 4.0 * backoff(job.id, story.patience, pace)))

    def _settled(self, fact: Settled, now: float) -> None:
        job = self._world.job(fact.project, fact.job)
        if job is None:
            return
        story = job.story
        held = None if story is None else story.held
        if held is not None:
            self._settle(job, held, fact, now)
        self._leave_queue(job)
        job.state = GONE
        self._ending.pop(job, None)
        self._calendar.gone(job, now)
        del job.tenant.jobs[job.id]

    def _settle(self, job: Job, held: Held, fact: Settled, now: float) -> None:
        if held.attempt != fact.attempt:
            # Somebody else wrote the result: what this attempt still does is for nothing.
            grants.release(job, (held.input, held.output), 1, now)
            held.deployment.breaker.left(probe=held.probe)
            self._pending.append(Abort(job.tenant.name, job.id, held.attempt, held.deployment.name))
            return
        used = grants.metered(held.deployment, fact.usage)
        if not fact.usage.reported and fact.usage.total == 0:
            used = (held.input, held.output)
        grants.release(job, used, 1, now)
        if fact.state is not JobState.SUCCEEDED:
            held.deployment.breaker.left(probe=held.probe)
            return
        deployment = held.deployment
        deployment.breaker.succeeded(probe=held.probe)
        deployment.gate.domain.served()
        if fact.seconds > 0:
            deployment.seconds.see(fact.seconds)
        if fact.usage.reported:
            self._world.estimates.learn(job.tenant.name, job.route_name, deployment.name, job.estimate, used)
        if job.flow is not None:
            account = deployment.gate.shares.account(job.lane, job.tenant.name, job.tenant.weight)
            account.carry += (used[0] + used[1]) - (held.input + held.output)

    def _limits_read(self, fact: LimitsRead, now: float) -> None:
        deployment = self._world.deployments.get(fact.deployment)
        if deployment is not None:
            for reading in fact.readings:
                deployment.gate.domain.read(reading, now)

    def _pool_seen(self, fact: PoolSeen, now: float) -> None:
        pool = self._world.pools.get(fact.pool)
        if pool is not None:
            pool.hear(fact.slots)

    # ------------------------------------------------------------------------------------------------------ deciding

    def decide(self, now: float, room: int) -> list[Decision]:
        """What to do now: at most ``room`` dispatches, and every finish and abort that is due."""
        self._now = now
        self._wake(now)
        decisions: list[Decision] = [*self._ending.values(), *self._pending]
        self._ending.clear()
        self._pending = []
        self._dispatch(now, room, decisions)
        return decisions

    def _wake(self, now: float) -> None:
        while self._parked and self._parked[0][0] <= now:
            due, _, job = heappop(self._parked)
            story = job.story
            if job.state != PARKED or (story is not None and story.due > due):
                continue
            if story is not None and story.owes:
                story.owes = not job.tenant.retries.spend(now)
                if story.owes:
                    self._wait_for_budget(job, story, 0.0, now)
                    continue
            self._enqueue(job)
        for job in self._calendar.due(now):
            if job.state == FLYING:
                held = None if job.story is None else job.story.held
                self._abort(job, "" if held is None else held.deployment.name)
            elif job.state != ENDING:
                self._expire(job, now)

    def _dispatch(self, now: float, room: int, decisions: list[Decision]) -> None:
        moment = self._world.moment
        moment.now = now
        moment.version += 1
        for gate in self._gates:
            gate.ready = gate.domain.open(now)
            gate.short = None
        self._start = (self._start + 1) % len(self._gates)
        order = self._gates[self._start :] + self._gates[: self._start]
        progress = True
        while progress and room > 0:
            progress = False
            for gate in order:
                if not gate.ready or room <= 0:
                    continue
                served = self._serve(gate, now)
                if served is not None:
                    progress = True
                    if isinstance(served, Dispatch):
                        decisions.append(served)
                        room -= 1
        self._more = progress and room <= 0

    def _serve(self, gate: Gate, now: float) -> Dispatch | Gate | None:
        """One dispatch at this gate; the gate itself if it has to wait for tokens; ``None`` if nobody waits here."""
        turn = gate.pick()
        if turn is None:
            return None
        job = turn.flow.queue.head()
        if job is None or isinstance(job.route, str):
            return None
        domain, moment = gate.domain, self._world.moment
        tokens = cost(self._world, job, turn.deployment)
        if domain.wait(*tokens, now) > 0:
            gate.ready = False
            gate.short = tokens
            moment.version += 1
            return gate
        dispatch = grants.grant(self._world, job, job.route, turn, tokens, now)
        gate.ready = domain.slots.free
        if not domain.pool.places.free:
            for sibling in self._gates:
                sibling.ready = sibling.ready and sibling.domain.pool.places.free
        if not gate.ready or not turn.deployment.breaker.closed or not domain.pool.places.free:
            moment.version += 1
        return dispatch

    def _expire(self, job: Job, now: float) -> None:
        waited, _ = waits_for(self._world, job, now)
        story = job.story
        last = "" if story is None or story.last is None else f"; its last attempt ended with {story.last.kind.value}"
        failure = Failure(
            kind=FailureKind.EXPIRED,
            message=f"its deadline passed while it waited for {waited}{last}",
            field="deadline",
            remedy="give it more time, a lane with a larger share, or a route with more deployments",
        )
        self._end(job, JobState.EXPIRED, failure)

    # -------------------------------------------------------------------------------------------------- confirmation

    def sent(self, dispatches: Iterable[Dispatch], now: float) -> None:
        """The batch goes out. The cap of an unacknowledged grant holds since ``decide`` took it, so nothing changes."""

    def stored(self, dispatches: Iterable[Dispatch], now: float) -> None:
        """The batch is in the broker: its grants are final."""
        for dispatch in dispatches:
            held = self._held(dispatch)
            if held is not None:
                grants.confirm(held, now)

    def refused(self, dispatches: Iterable[Dispatch], now: float) -> None:
        """The batch is not in the broker and never will be: back to the queue, and the reservation back whole."""
        for dispatch in dispatches:
            held = self._held(dispatch)
            job = self._world.job(dispatch.project, dispatch.job)
            if held is None or job is None or job.story is None:
                continue
            grants.release(job, (0, 0), 0, now)
            held.deployment.breaker.left(probe=held.probe)
            story = job.story
            story.attempt -= 1
            story.abort_asked = False
            job.state = PARKED
            if story.cancel is not None:
                self._end(job, JobState.CANCELLED, _cancelled(story.cancel))
            elif job.deadline <= now:
                self._expire(job, now)
            else:
                self._enqueue(job)

    def _held(self, dispatch: Dispatch) -> Held | None:
        job = self._world.job(dispatch.project, dispatch.job)
        held = None if job is None or job.story is None else job.story.held
        return held if held is not None and held.attempt == dispatch.attempt else None

    # ------------------------------------------------------------------------------------------------------- telling

    def next_wake(self, now: float) -> float | None:
        """When ``decide`` could have something new although no fact came; ``None`` if it could not."""
        if self._more or self._pending or self._ending:
            return now
        times = [time for time in (self._calendar.next(),) if time is not None]
        if self._parked:
            times.append(self._parked[0][0])
        for gate in self._gates:
            if gate.short is not None:
                times.append(now + gate.domain.wait(*gate.short, now))
            if now < gate.domain.closed_until:
                times.append(gate.domain.closed_until)
        times.extend(d.breaker.until for d in self._world.deployments.values() if now < d.breaker.until)
        soonest = min(times, default=NEVER)
        return None if soonest == NEVER else max(now, soonest)

    def cancelling(self, project: str, job: str) -> bool:
        """Whether the job is to be cancelled: a dispatch of it that is not yet sent must be refused instead."""
        known = self._world.job(project, job)
        return known is None or (known.story is not None and known.story.cancel is not None)

    def status(self, project: str, job: str, now: float) -> Explanation | None:
        """Where a job is and why, ``None`` if it is not (or no longer) known."""
        known = self._world.job(project, job)
        return None if known is None else explain(self._world, known, now)

    def counts(self, now: float) -> Counts:
        """Numbers for operators."""
        return count(self._world, now)

    def in_flight(self) -> Iterator[tuple[str, str, int, str]]:
        """Project, job, attempt and deployment of everything that holds a reservation."""
        for tenant in self._world.tenants.values():
            for job in tenant.jobs.values():
                held = None if job.story is None else job.story.held
                if held is not None:
                    yield tenant.name, job.id, held.attempt, held.deployment.name

    def levels(self, now: float) -> Mapping[str, Mapping[str, float]]:
        """What each limit domain has left, for the record that a successor starts from."""
        return {name: gate.domain.levels(now) for name, gate in self._world.gates.items()}

    def restore(self, levels: Mapping[str, Mapping[str, float]], silence: float, now: float) -> None:
        """Take over after ``silence`` observed seconds: what the levels do not mention starts empty."""
        for name, gate in self._world.gates.items():
            gate.domain.restore(levels.get(name, {}), silence, now)

    # ----------------------------------------------------------------------------------------------------- the queue

    def _enqueue(self, job: Job) -> None:
        route = job.route
        if isinstance(route, str):
            return
        barred, tried = route.barred(job.needs, job.estimate), 0
        if job.story is not None:
            barred, tried = barred | job.story.barred, job.story.tried
        flow = route.group(barred, tried).flow(job.lane, job.tenant)
        job.flow = flow
        job.state = QUEUED
        flow.group.queued[job.lane] += 1
        flow.queue.push(job)
        if flow.queue.count == 1:
            flow.enter()

    def _park(self, job: Job, until: float) -> None:
        job.state = PARKED
        if job.story is not None:
            job.story.due = until
        heappush(self._parked, (until, job.seq, job))

    def _leave_queue(self, job: Job) -> None:
        if job.state == QUEUED and job.flow is not None:
            flow = job.flow
            job.state = PARKED
            flow.queue.leave()
            flow.group.queued[job.lane] -= 1

    def _end(self, job: Job, state: JobState, failure: Failure) -> None:
        """Decide the job's end; it stays known until its result record is seen."""
        self._leave_queue(job)
        job.state = ENDING
        story = job.story
        self._ending[job] = Finish(
            project=job.tenant.name,
            job=job.id,
            seq=job.seq,
            state=state,
            failure=failure,
            history=() if story is None else story.history,
            route=job.route_name,
            token=job.token,
            body_hash=job.body_hash,
            submitted=job.submitted,
            attempt=0 if story is None else story.attempt,
        )

    def _abort(self, job: Job, deployment: str) -> None:
        story = job.told()
        if not story.abort_asked:
            story.abort_asked = True
            self._pending.append(Abort(job.tenant.name, job.id, story.attempt, deployment))

    def _remember_cancel(self, fact: CancelAsked, now: float) -> None:
        early = self._early
        early[(fact.project, fact.job)] = (fact.token, fact.reason, now)
        early.move_to_end((fact.project, fact.job))
        pace = self._rules.pace
        while early and (
            len(early) > pace.early_cancels or next(iter(early.values()))[2] < now - pace.early_cancel_for
        ):
            early.popitem(last=False)


def _cancelled(reason: str) -> Failure:
    return Failure(kind=FailureKind.CANCELLED, message=reason or "cancelled by the producer")

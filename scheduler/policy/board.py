"""The one door of the policy: apply facts, decide, confirm, explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy import grants
from scheduler.policy.aftermath import Aftermath
from scheduler.policy.arrivals import Arrivals
from scheduler.policy.backlog import Backlog
from scheduler.policy.buckets import NEVER
from scheduler.policy.capacities import room
from scheduler.policy.choices import likely
from scheduler.policy.demand import demands
from scheduler.policy.explain import explain
from scheduler.policy.facts import (
    AttemptEnded,
    Begun,
    CancelAsked,
    Charged,
    InFlight,
    Late,
    LimitsRead,
    Ordered,
    PoolSeen,
    Settled,
    Submitted,
    Uncharged,
)
from scheduler.policy.followups import following
from scheduler.policy.hedges import Hedges
from scheduler.policy.jobs import BLOCKED, ENDING, FLYING, PARKED, QUEUED
from scheduler.policy.listing import stretch
from scheduler.policy.orders import carry_out, problem
from scheduler.policy.overview import overview
from scheduler.policy.payments import Payments
from scheduler.policy.planned import estimate
from scheduler.policy.reseating import Reseating
from scheduler.policy.rounds import Rounds
from scheduler.policy.tally import count
from scheduler.policy.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from job_contracts.attempts import Draft
    from job_contracts.decisions import Choice
    from job_contracts.desk import Estimate, Planned
    from job_contracts.experiments import Judge
    from job_contracts.finding import AskFind
    from job_contracts.operating import AskOrder, Overview
    from job_contracts.results import AttemptRecord
    from scheduler.policy.capacities import Room
    from scheduler.policy.decisions import Decision, Dispatch
    from scheduler.policy.demand import Demand
    from scheduler.policy.explain import Explanation
    from scheduler.policy.facts import Fact
    from scheduler.policy.felt import Bound, Waited
    from scheduler.policy.listing import Stretch
    from scheduler.policy.overview import Told
    from scheduler.policy.purses import Spending
    from scheduler.policy.rules import Rules
    from scheduler.policy.seats import Running
    from scheduler.policy.tally import Counts


class Board:
    """All state of one leader's term. Deterministic: the same calls at the same times give the same decisions.

    ``now`` is seconds on one monotonic scale throughout. Only ``apply``, ``decide``, ``stored``, ``refused``,
    ``place_trials``, ``trust_spending`` and what restores change anything; whatever else is asked, and how often, makes
    no difference to what is decided.
    """

    def __init__(self, rules: Rules, *, now: float = 0.0, wall: float = 0.0) -> None:
        """``wall`` is UTC seconds at ``now``."""
        self._now = now
        self._world = World(rules, now, wall)
        self._backlog = Backlog(self._world)
        self._reseating = Reseating(self._world, self._backlog)
        self._hedges = Hedges(self._world, self._backlog)
        self._arrivals = Arrivals(self._world, self._backlog, self._hedges)
        self._aftermath = Aftermath(self._world, self._backlog, self._hedges)
        self._rounds = Rounds(self._world, Payments(self._world, self._backlog))

    # --------------------------------------------------------------------------------------------------------- facts

    def apply(self, fact: Fact, now: float) -> None:
        """Something happened. A fact that is told twice, too late, or of an unknown job changes nothing."""
        self._now = self._world.accounts.now = now
        match fact:
            case Submitted():
                self._arrivals.submitted(fact, now)
            case Settled():
                job = self._world.job(fact.project, fact.job)
                if job is not None:
                    self._aftermath.settled(job, fact, now)
            case AttemptEnded():
                if not fact.called:
                    self._world.accounts.release((fact.project, fact.job, fact.attempt))
                job = self._world.job(fact.project, fact.job)
                if job is not None:
                    self._aftermath.ended(job, fact, now)
            case Late() | Begun():
                job = self._world.job(fact.project, fact.job)
                if job is not None:
                    self._hedges.heard(job, fact, now)
            case InFlight():
                self._arrivals.in_flight(fact, now)
            case CancelAsked():
                self._cancel_asked(fact, now)
            case LimitsRead():
                self._limits_read(fact, now)
            case PoolSeen() | Ordered():
                self._told(fact, now)
            case Charged():
                self._world.accounts.charge(fact)
            case Uncharged():
                self._world.accounts.release((fact.project, fact.job, fact.attempt))

    def _cancel_asked(self, fact: CancelAsked, now: float) -> None:
        job = self._world.job(fact.project, fact.job)
        if job is None:
            self._backlog.remember_cancel(fact, now)
        elif job.token == fact.token and job.state != ENDING:
            job.told().cancel = fact.reason
            if job.state == FLYING:
                self._backlog.abort(job)
            else:
                self._backlog.cancel(job, fact.reason)

    def _limits_read(self, fact: LimitsRead, now: float) -> None:
        deployment = self._world.deployments.get(fact.deployment)
        if deployment is not None:
            for reading in fact.readings:
                deployment.gate.domain.read(reading, now)

    def _told(self, fact: PoolSeen | Ordered, now: float) -> None:
        if isinstance(fact, Ordered):
            carry_out(self._world, fact, now)
        elif fact.pool in self._world.pools:
            self._world.pools[fact.pool].hear(fact.slots)

    # ------------------------------------------------------------------------------------------------------ deciding

    def decide(self, now: float, room: int) -> list[Decision]:
        """What to do now: at most ``room`` dispatches, and every finish and abort that is due."""
        self._now = self._world.accounts.now = now
        self._backlog.wake(now)
        if self._reseating.waiting:
            self._reseating.run()
        dispatches = self._rounds.run(now, room)
        if self._hedges.waiting:
            dispatches += self._hedges.run(now, room - len(dispatches))
        return [*self._backlog.decisions(), *dispatches]

    def sent(self, dispatches: Iterable[Dispatch], now: float) -> None:
        """The batch goes out. The cap of an unacknowledged grant holds since ``decide`` took it: nothing changes."""

    def stored(self, dispatches: Iterable[Dispatch], now: float) -> None:
        """The batch is in the broker: its grants are final."""
        for dispatch in dispatches:
            job = self._world.job(dispatch.project, dispatch.job)
            story = None if job is None else job.story
            held = None if story is None else story.second if dispatch.hedge and story.second else story.held
            if held is not None and held.attempt == dispatch.attempt:
                grants.confirm(held, now)
            if job is not None and dispatch.late is not None:
                self._hedges.spent(job, dispatch, now)

    def refused(self, dispatches: Iterable[Dispatch], now: float) -> None:
        """The batch is not in the broker and never will be: back to the queue, and the reservation back whole."""
        self._now = self._world.accounts.now = now
        for dispatch in dispatches:
            self._world.accounts.release((dispatch.project, dispatch.job, dispatch.attempt), dispatch.charged)
            job = self._world.job(dispatch.project, dispatch.job)
            if dispatch.hedge and self._hedges.refused(job, dispatch, now):
                continue
            story = None if job is None else job.story
            held = None if story is None else story.held
            if job is None or story is None or held is None or held.attempt != dispatch.attempt or not held.pending:
                continue
            grants.undo(job, held, now)
            story.attempt -= 1
            story.at = None
            story.abort_asked = False
            job.state = PARKED
            if story.cancel is not None:
                self._backlog.cancel(job, story.cancel)
            elif job.deadline <= now:
                self._backlog.expire(job, "its turn")
            else:
                self._backlog.enqueue(job)

    # --------------------------------------------------------------------------------------------------- experiments

    def place_trials(self, running: Mapping[str, Running], now: float) -> None:
        """How experiments stand from now on. Jobs that wait go where that sends them, in the rounds that follow; what
        is under way stays there.
        """
        self._now = self._world.accounts.now = now
        self._world.place_trials(running)
        self._reseating.begin()

    def judge(self, experiment: str) -> Judge | None:
        """Who scores answers in an experiment, as it is in force."""
        found = self._world.trials.running.get(experiment)
        return None if found is None else found.settings.judge

    # --------------------------------------------------------------------------------------------------------- money

    def spending(self) -> Spending:
        """What every payer has spent in its windows: what a successor starts from, with the LEDGER read so far."""
        return self._world.accounts.spending()

    def restore_spending(self, spending: Spending) -> None:
        """Start from these sums; what LEDGER holds beyond them is told as ``Charged``."""
        self._world.accounts.payers.restore_spending(spending)

    def trust_spending(self, trusted: bool) -> None:  # noqa: FBT001 - the one thing it is told
        """Whether all of LEDGER has been read; until then no job goes for which a hard budget pays."""
        self._world.accounts.trusted = trusted

    def estimate(self, project: str, planned: Planned, now: float) -> Estimate:
        """What such a job would cost, why it would be refused and, if it asks for that, where it would go and why."""
        return estimate(self._world, project, planned, now)

    # ------------------------------------------------------------------------------------------------------- telling

    def next_wake(self, now: float) -> float | None:
        """When ``decide`` could have something new although no fact came; ``None`` if it could not."""
        if self._rounds.more or self._backlog.decided or self._hedges.waiting or self._reseating.waiting:
            return now
        soonest = self._rounds.next_time(now)
        time = self._backlog.next_time()
        if time is not None:
            soonest = min(soonest, time)
        return None if soonest == NEVER else max(now, soonest)

    def cancelling(self, project: str, job: str) -> bool:
        """Whether a dispatch of it that is not yet sent must be refused: it is to be cancelled, or has ended."""
        known = self._world.job(project, job)
        return known is None or (known.story is not None and known.story.cancel is not None)

    def status(self, project: str, job: str, now: float) -> Explanation | None:
        """Where a job is and why, ``None`` if it is not (or no longer) known."""
        known = self._world.job(project, job)
        return None if known is None else explain(self._world, known, now)

    def choice(self, project: str, job: str, now: float) -> Choice | None:
        """Where a job that waits would go now, and why not elsewhere; why one went there that is under way, as far as
        that was told. ``None`` of any other job.
        """
        known = self._world.job(project, job)
        if known is not None and known.state == FLYING:
            return None if known.story is None or known.story.held is None else known.story.held.decision
        if known is None or known.state not in {QUEUED, BLOCKED, PARKED} or isinstance(known.route, str):
            return None
        if known.state != PARKED and known.flow is not None:
            return likely(self._world, known, known.flow.group, now)
        barred, tried = (0, 0) if known.story is None else (known.story.barred, known.story.tried)
        group = known.route.imagined(known, barred | known.route.barred(known), tried)
        return likely(self._world, known, group, now)

    def history(self, project: str, job: str) -> tuple[AttemptRecord, ...]:
        """A job's attempts that have ended, as far as they are known."""
        known = self._world.job(project, job)
        return () if known is None or known.story is None else known.story.history

    def draft(self, project: str, job: str) -> Draft | None:
        """A job's answer, while it waits to be verified."""
        known = self._world.job(project, job)
        return None if known is None or known.story is None else known.story.draft

    def stretch(self, asked: AskFind, place: int, now: float, *, most: int, rows: int) -> Stretch:
        """Those of ``most`` jobs from a place on, in the order of their submissions, that are asked for."""
        return stretch(self._world, asked, place, now, most=most, rows=rows)

    @property
    def known(self) -> int:
        """Jobs without a result, of all projects."""
        return sum(len(tenant.jobs) for tenant in self._world.tenants.values())

    def unfinished(self, project: str) -> int:
        """Jobs of a project without a result."""
        tenant = self._world.tenants.get(project)
        return 0 if tenant is None else len(tenant.jobs)

    def following(self, project: str) -> int:
        """Follow-ups of a project's jobs without a result."""
        return self.unfinished(following(project))

    def counts(self, now: float | None = None) -> Counts:
        """Numbers for operators."""
        return count(self._world, self._now if now is None else now)

    def demands(self, now: float) -> Mapping[str, Demand]:
        """By pool: how many calls at once it is asked for."""
        return demands(self._world, now)

    def problem(self, asked: AskOrder) -> tuple[str, str, str] | None:
        """Field, what is wrong with an operator's order and what would be right; ``None`` if it can be carried out."""
        return problem(self._world, asked)

    def overview(self, told: Told, now: float) -> Overview:
        """All that an operator sees of a moment; ``told`` is what others know of it."""
        return overview(self._world, told, now)

    def felt(self) -> list[Bound | Waited]:
        """What limits did to jobs since this was last asked."""
        return self._rounds.feeling.told()

    def room(self, now: float) -> Room:
        """What is left of each limit, how much it holds, and what it allows."""
        return room(self._world, now)

    def in_flight(self) -> Iterator[tuple[str, str, int, str]]:
        """Project, job, attempt and deployment of everything that holds a reservation."""
        for tenant in self._world.tenants.values():
            for job in tenant.jobs.values():
                for held in () if job.story is None else (job.story.held, job.story.second):
                    if held is not None:
                        yield tenant.name, job.id, held.attempt, held.deployment.name

    def levels(self, now: float) -> Mapping[str, Mapping[str, float]]:
        """What each limit domain, project and key has left, for the record that a successor starts from."""
        domains = {name: gate.domain.levels(now) for name, gate in self._world.gates.items()}
        return {**domains, **self._world.accounts.payers.levels(now)}

    def restore(self, levels: Mapping[str, Mapping[str, float]], silence: float, now: float) -> None:
        """Take over after ``silence`` observed seconds: what the levels do not mention starts empty."""
        for name, gate in self._world.gates.items():
            gate.domain.restore(levels.get(name, {}), silence, now)
        self._world.accounts.payers.restore_levels(levels, silence, now)

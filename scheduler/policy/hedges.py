"""Hedges: a second attempt beside one that is late; the first of the two to answer wins, the other one is stopped.

A job has at most two attempts under way: ``Story.held`` and, with the next number, the hedge ``Story.second``. A hedge
is granted at once or not at all, it waits for nothing, and takes nothing from anybody who waits. It is no retry: it
counts neither against the attempts of the route nor as a repetition, and if it fails nothing happens to the job. If
the first attempt fails while the hedge runs, the hedge becomes the job's attempt. Once one of them is shown to whoever
reads the stream, the other one is ``outrun``: it is to stop, and nothing that it still says counts for the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Action, FailureKind
from job_contracts.jobs import JobState
from scheduler.policy import grants
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import output_bound, worst
from scheduler.policy.decisions import Dispatch
from scheduler.policy.explain import cost
from scheduler.policy.facts import Late
from scheduler.policy.hedging import LANES_HEDGED, shown
from scheduler.policy.jobs import ENDING, FLYING, Held
from scheduler.policy.shortfalls import hopeless, until

if TYPE_CHECKING:
    from scheduler.policy.backlog import Backlog
    from scheduler.policy.domains import Tokens
    from scheduler.policy.facts import AttemptEnded, Begun, InFlight, Settled
    from scheduler.policy.jobs import Job, Story
    from scheduler.policy.turns import Deployment, Route
    from scheduler.policy.world import World


class Hedges:
    """Grants second attempts and settles them."""

    __slots__ = ("_backlog", "_late", "_world")

    def __init__(self, world: World, backlog: Backlog) -> None:
        self._world = world
        self._backlog = backlog
        self._late: dict[Job, None] = {}
        """Jobs whose attempt is late, in the order that was told."""

    @property
    def waiting(self) -> bool:
        """Whether somebody is to be decided about."""
        return bool(self._late)

    def heard(self, job: Job, fact: Late | Begun, now: float) -> None:
        """An attempt is late, or is shown."""
        story = job.story
        if story is None or job.state != FLYING:
            return
        if isinstance(fact, Late):
            if _alone(job, story, fact.attempt):
                self._late[job] = None
        elif story.held is not None and story.second is not None and not story.outrun:
            pair = (story.held, story.second)
            if fact.attempt in {each.attempt for each in pair}:
                loser = pair[0] if fact.attempt == pair[1].attempt else pair[1]
                story.outrun = loser.attempt
                if loser is story.held:
                    _slow(loser, now, streamed=True)
                self._backlog.stop(job, loser.attempt, loser.deployment.name, outrun=True)

    # ------------------------------------------------------------------------------------------------------- granting

    def run(self, now: float, room: int) -> list[Dispatch]:
        """Those that may go now. For the others there is nothing to wait for: they are told late again, if they are."""
        late, self._late = self._late, {}
        found: list[Dispatch] = []
        for job in late:
            story = job.story
            if len(found) < room and story is not None and story.held is not None:
                dispatch = self._hedge(job, story, story.held, now)
                if dispatch is not None:
                    found.append(dispatch)
        return found

    def _hedge(self, job: Job, story: Story, first: Held, now: float) -> Dispatch | None:
        route = job.route
        # Two attempts at once could cost more than the job may cost at all.
        if isinstance(route, str) or route.hedging is None or job.max_cost is not None or job.tenant.full:
            return None
        if job.lane >= LANES_HEDGED or not _alone(job, story, first.attempt) or job.deadline <= now:
            return None
        if shown(job):
            return None  # only one attempt can go on from there
        deployment = self._place(job, story, first, route, now)
        if deployment is None:
            return None
        tokens = cost(self._world, job, deployment)
        if not deployment.gate.domain.admits(tokens, now) or not self._paid(job, deployment, tokens, now):
            return None
        amount = route.hedging.amount(deployment, tokens, now)
        if not route.hedging.allowance.take(amount, route.hedging.rule.share, now):
            return None
        return self._grant(job, story, deployment, tokens, now)

    def _place(self, job: Job, story: Story, first: Held, route: Route, now: float) -> Deployment | None:
        """The best other place at which nobody waits; at another provider, because what slows one model of a provider
        down mostly slows them all (and two assignments of a job need two subjects).
        """
        barred = route.barred(job) | story.barred | story.tried
        for index, rule in enumerate(route.rules):
            gate = route.deployments[index].gate
            if rule.provider == first.deployment.rule.provider or gate.short is not None or gate.saving is not None:
                barred |= 1 << index
        if barred == route.everywhere:
            return None
        moment = self._world.moment
        moment.version += 1
        for deployment in route.deployments:
            deployment.gate.ready = deployment.gate.domain.open(now)
        return route.group_of(job, barred, 0).choice()

    def _paid(self, job: Job, deployment: Deployment, tokens: Tokens, now: float) -> bool:
        """Whether all who pay have room, without taking what somebody waits for."""
        wallet, accounts = job.wallet, self._world.accounts
        if job.priced and hopeless(self._world, job, deployment, now) is not None:
            return False
        if wallet is None or not wallet.binds:
            return True
        if wallet.hard and not accounts.trusted:
            return False
        wall = accounts.wall(now)
        most = (worst(job, deployment, wall) or 0) if wallet.hard else 0
        return all(
            payer.top() is None and until(payer, amounts, most, wall)[0] for payer, amounts in wallet.hard
        ) and all(
            payer.top() is None and quota.domain.slots.free and quota.domain.admits(tokens, now)
            for payer, quota in wallet.quotas
        )

    def _grant(self, job: Job, story: Story, deployment: Deployment, tokens: Tokens, now: float) -> Dispatch:
        tenant, gate, accounts, wallet = job.tenant, deployment.gate, self._world.accounts, job.wallet
        gate.domain.take(tokens, now)
        account = gate.shares.account(job.lane, tenant.name, tenant.weight)
        account.charge(tokens[0] + tokens[1])
        story.attempt += 1
        held = Held(story.attempt, deployment, tokens, account, now, probe=deployment.breaker.enter())
        story.second = held
        wall = accounts.wall(now)
        most = worst(job, deployment, wall)
        if wallet is not None:
            if most is not None:
                accounts.reserve((tenant.name, job.id, held.attempt), wallet.payers, most, wall)
            held.quotas = wallet.quotas
            for _, quota in wallet.quotas:
                quota.domain.take(tokens, now)
        deployment.flying += 1
        tenant.flying += 1
        return Dispatch(
            project=tenant.name,
            job=job.id,
            seq=job.seq,
            attempt=held.attempt,
            route=job.route_name,
            deployment=deployment.name,
            domain=gate.domain.name,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            history=story.history,
            switched_from=story.at,
            switch_reason="hedged",
            cost=most,
            charged=wall,
            max_output=output_bound(deployment.rule, job.needs, job.max_output) or None if job.priced else None,
            key=None if wallet is None else wallet.key,
            constraints=() if job.demands is None else job.demands.constraints,
            trial=None if job.seat is None else job.seat.begin(wall),
            hedge=True,
        )

    def spent(self, job: Job, dispatch: Dispatch, now: float) -> None:
        """An ordinary attempt is stored: a share of what it costs may be spent on second ones."""
        deployment = self._world.deployments.get(dispatch.deployment)
        if not isinstance(job.route, str) and job.route.hedging is not None and deployment is not None:
            hedging, tokens = job.route.hedging, (dispatch.input_tokens, dispatch.output_tokens)
            hedging.allowance.note(hedging.amount(deployment, tokens, now), now)

    def refused(self, job: Job | None, dispatch: Dispatch, now: float) -> bool:
        """It is not in the broker and never will be; False if it has become the job's only attempt meanwhile."""
        story = None if job is None else job.story
        if job is None or story is None:
            return True
        second = story.second
        if second is None or second.attempt != dispatch.attempt:
            return False
        grants.undo(job, second, now)
        story.attempt -= 1
        story.outrun = 0
        if not isinstance(job.route, str) and job.route.hedging is not None:
            hedging = job.route.hedging
            hedging.allowance.back(hedging.amount(second.deployment, second.tokens, now))
        return True

    def adopted(self, job: Job, fact: InFlight, deployment: Deployment | None) -> bool:
        """At recovery: take it as the hedge of the attempt that is under way; False if none is, then it is the one."""
        story = job.told()
        first = story.held
        if job.state != FLYING or first is None or first.attempt != fact.attempt - 1:
            return False
        story.attempt = fact.attempt
        if deployment is not None:
            grants.adopt(job, fact.attempt, deployment, (fact.input_tokens, fact.output_tokens))
            story.second, story.held = story.held, first
        return True

    # --------------------------------------------------------------------------------------------------------- ending

    def ended(self, job: Job, story: Story, fact: AttemptEnded, now: float) -> bool:
        """One of two attempts ended without a result. False if the job depends on it: it is judged like any other."""
        first, second = story.held, story.second
        if job.state == ENDING or first is None:
            return False
        if second is None:
            if fact.attempt == first.attempt:
                return False
            story.attempt = max(story.attempt, fact.attempt)  # a hedge of before a takeover: its number is used up
            return True
        if fact.attempt > second.attempt:  # another process has gone on since
            grants.drop(job, second, now)
            story.outrun = 0
            return False
        if fact.attempt < first.attempt:
            return True
        ended, other = (first, second) if fact.attempt == first.attempt else (second, first)
        if story.outrun == other.attempt:
            # The one that was shown has failed; nobody waits for what the other one, which is being stopped, will say.
            grants.drop(job, other, now)
            story.held, story.second, story.outrun = ended, None, 0
            return False
        self._let_go(job, story, ended, fact, now)
        story.held, story.second = other, None
        story.at = other.deployment.name
        if ended is first and story.outrun != ended.attempt:
            story.last, story.last_deployment = fact.failure, fact.deployment
            story.counted += fact.failure.permits.counts
        story.outrun = 0
        return True

    def _let_go(self, job: Job, story: Story, held: Held, fact: AttemptEnded, now: float) -> None:
        """What it held, what it says of its place, and what is to be remembered of it."""
        used = grants.spent(held, fact.failure, fact.record, called=fact.called)
        grants.release(job, held, used, 1 if fact.called else 0, now)
        gone = held.deployment.gone
        grants.bench(self._world, held, fact.failure, now)
        if held.deployment.gone and not gone:
            self._backlog.succeed(held.deployment)
        if fact.record is not None:
            story.history = (*story.history, fact.record)
        if fact.failure.kind is FailureKind.WORKER_LOST:
            story.deaths += 1
        place = None if isinstance(job.route, str) else job.route.index(held.deployment.name)
        if place is not None and fact.failure.permits.action is Action.SWITCH:
            story.tried |= 1 << place

    def settled(self, job: Job, story: Story, fact: Settled, now: float) -> None:
        """The job's result exists: the one that wrote it is left as the job's attempt, the other one is stopped."""
        first, second = story.held, story.second
        if second is None:
            return
        if fact.attempt == second.attempt and fact.deployment == second.deployment.name:
            story.held, story.second = second, first
            if first is not None and not story.outrun:
                _slow(first, now, streamed=fact.first_token is not None)
        loser = story.second
        if loser is not None:
            grants.drop(job, loser, now)
            self._backlog.stop(job, loser.attempt, loser.deployment.name, outrun=fact.state is JobState.SUCCEEDED)


def _alone(job: Job, story: Story, attempt: int) -> bool:
    """Whether this attempt is under way, without another one beside it or after it, and to go on."""
    first = story.held
    if job.state != FLYING or first is None or first.pending or story.second is not None:
        return False
    return first.attempt == attempt == story.attempt and story.cancel is None and not story.abort_asked


def _slow(held: Held, now: float, *, streamed: bool) -> None:
    """It was stopped before it answered: that it took so long at least must count, or only the fast ones would."""
    speed, took = held.deployment.speed, now - held.since
    if speed is not None and held.since > -NEVER:
        speed.see(took if streamed else None, took, held.deployment.flying, now)

"""The desk's answers about experiments: what clients say of answers, how experiments stand, and the operator's stop."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.experiments import CONTROL, Metric
from job_contracts.jobs import JobState
from job_contracts.results import Settlement
from job_contracts.trials import (
    AskExperiments,
    AskFeedback,
    AskStop,
    GivenScore,
    TakenFeedback,
    ToldArm,
    ToldDifference,
    ToldExperiment,
    ToldExperiments,
    counted,
)
from runtime.bus.port import WrongSequence
from scheduler.policy.experiments.moments import UNITS
from scheduler.policy.experiments.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runtime.bus.port import Bus
    from scheduler.policy.experiments.book import Account
    from scheduler.policy.experiments.comparing import Difference
    from scheduler.policy.experiments.moments import Moments
    from scheduler.term import Term
    from scheduler.trials import Trials

OPERATOR = "-"
"""In place of a project."""


class TrialDesk:
    """Serves ``feedback`` to every project, ``experiments`` and ``stop_arm`` to the operator."""

    def __init__(self, term: Term, trials: Trials) -> None:
        self._bus = term.bus
        self._ttl = term.config.nats.result_ttl
        self._trials = trials

    def operations(self) -> Mapping[str, Callable[[str, bytes], Awaitable[bytes]]]:
        """What it answers, by name."""
        return {"feedback": self._feedback, "experiments": self._experiments, "stop_arm": self._stop}

    async def _feedback(self, project: str, data: bytes) -> bytes:
        asked = decode(AskFeedback, data)
        subject = subjects.result(project, subjects.check_job_id(asked.job))
        found = await self._bus.get_direct(subjects.RES, subject)
        settlement = decode(Settlement, (found.headers or {}).get(subjects.H_SETTLEMENT, ""))
        if settlement.state is not JobState.SUCCEEDED:
            message = f"{asked.job} has no answer that could be scored: it is {settlement.state.value}"
            raise ContractError(message, field="job", remedy="score jobs that have succeeded")
        trial = counted(settlement.trial, None)
        given = GivenScore(metric=Metric.FEEDBACK, score=asked.score, trial=trial)
        first = await give(self._bus, project, asked.job, given, ttl=self._ttl)
        experiment = None if trial is None else trial.experiment
        return encode(TakenFeedback(job=asked.job, first=first, experiment=experiment))

    async def _experiments(self, project: str, data: bytes) -> bytes:
        _only_operator(project)
        asked = decode(AskExperiments, data)
        accounts = self._trials.book.accounts
        _known(asked.name, accounts)
        names = sorted(accounts) if asked.name is None else [asked.name]
        return encode(ToldExperiments(experiments=tuple(_told(name, accounts[name]) for name in names)))

    async def _stop(self, project: str, data: bytes) -> bytes:
        _only_operator(project)
        asked = decode(AskStop, data)
        accounts = self._trials.book.accounts
        _known(asked.experiment, accounts)
        challengers = accounts[asked.experiment].settings.challengers
        if asked.arm not in challengers:
            message = f"{asked.experiment} has no challenger {asked.arm!r}"
            raise ContractError(message, field="arm", remedy=f"use one of: {', '.join(sorted(challengers))}")
        await self._trials.stop(asked.experiment, asked.arm, asked.why or "by the operator")
        name = asked.experiment
        return encode(ToldExperiments(experiments=(_told(name, self._trials.book.accounts[name]),)))


async def give(bus: Bus, project: str, job: str, given: GivenScore, *, ttl: int) -> bool:
    """Store a score beside the job's result, once a metric; False if there is one already. Raises BusError."""
    subject = subjects.score(project, job, given.metric.value)
    headers = {subjects.H_SCORE: encode(given).decode()}
    try:
        await bus.append(subject, b"", headers=headers, expect_last=0, ttl=ttl)
    except WrongSequence:
        return False
    return True


def _only_operator(project: str) -> None:
    if project != OPERATOR:
        remedy = "ask with the services' login: penstock experiments --url nats://…"
        raise ContractError("experiments are the operator's to see", field="project", remedy=remedy)


def _known(name: str | None, accounts: Mapping[str, Account]) -> None:
    if name is not None and name not in accounts:
        known = f"use one of: {', '.join(sorted(accounts))}" if accounts else "there are none: write one down"
        raise ContractError(f"there is no experiment {name!r}", field="name", remedy=known)


def _told(name: str, account: Account) -> ToldExperiment:
    settings, progress = account.settings, account.progress
    return ToldExperiment(
        name=name,
        route=settings.route,
        running=account.ended is None,
        share=progress.share(settings.ramp),
        step=progress.step,
        steps=len(settings.ramp.steps),
        began=progress.began,
        adopted=settings.adopted,
        holding=account.holding,
        refused=account.refused,
        arms=tuple(_arm(account, arm) for arm in settings.weights),
        audit=tuple(account.audit),
    )


def _arm(account: Account, arm: str) -> ToldArm:
    settings, sums = account.settings, account.of(arm)
    compared = {} if arm == CONTROL else account.compared.get(arm, {})
    words = verdict(arm, compared, smallest=settings.smallest, progress=account.progress) if compared else None
    return ToldArm(
        name=arm,
        route=settings.served_by(arm),
        jobs=sums.jobs,
        failed=sums.by[Metric.ERROR_RATE].total,
        mean_cost=_mean(sums.by[Metric.COST], Metric.COST),
        mean_seconds=_mean(sums.by[Metric.LATENCY], Metric.LATENCY),
        stopped=account.progress.halted.get(arm),
        verdict=words,
        differences=tuple(_difference(each) for each in compared.values()),
    )


def _mean(moments: Moments, metric: Metric) -> float | None:
    return moments.mean / UNITS[metric] if moments.count else None


def _difference(found: Difference) -> ToldDifference:
    low, high = found.interval
    return ToldDifference(
        metric=found.metric,
        estimate=found.estimate,
        low=low if isfinite(low) else None,
        high=high if isfinite(high) else None,
        finding=found.finding.value,
        more=found.more,
    )

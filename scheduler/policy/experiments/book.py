"""All experiments of a shard: their sums, how far they are, and what is to be done next. A fold of what has ended.

``told`` and ``scored`` take in what RES holds, in its order; ``configure`` what the operator has written now;
``decide`` moves what is due. Whoever keeps the book stores it before anything of that takes effect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts.experiments import CONTROL, Experiment, refused
from job_contracts.jobs import JobState
from job_contracts.money import picodollars
from job_contracts.trials import Happened
from scheduler.policy.experiments.comparing import compare
from scheduler.policy.experiments.moments import ArmSums, Ended, Scored
from scheduler.policy.experiments.ramp import Halt, Hold, Raise, begun, decide, moved

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from job_contracts.results import Settlement
    from job_contracts.trials import GivenScore
    from scheduler.policy.experiments.ramp import Compared, Decision, Progress

KEPT = 30 * 86_400.0
"""Seconds for which the sums are kept of an experiment that the configuration has no more."""
LINES = 200
"""Of the audit, of one experiment, the newest."""
ROUNDS = 100
"""Decisions of one experiment in one look at most; it never takes as many."""


@dataclass(slots=True)
class Account:
    """One experiment's."""

    settings: Experiment
    progress: Progress
    sums: dict[str, ArmSums] = field(default_factory=dict)
    audit: list[Happened] = field(default_factory=list)
    ended: float | None = None
    """Since when the configuration has it no more."""
    refused: tuple[str, ...] = ()
    """What of the configuration is not in force."""
    holding: str = "nothing has ended yet"
    fresh: bool = True
    """Whether something has come since the last decision, or the time may have."""
    compared: Compared = field(default_factory=dict)

    def of(self, arm: str) -> ArmSums:
        """An arm's sums."""
        return self.sums.setdefault(arm, ArmSums())

    @property
    def jobs(self) -> dict[str, int]:
        """By arm, that have ended."""
        return {arm: self.of(arm).jobs for arm in self.settings.weights}

    def note(self, at: float, what: str, why: str, who: str = "scheduler") -> Happened:
        """A line more in its audit."""
        line = Happened(at=at, what=what, why=why, who=who)
        self.audit.append(line)
        del self.audit[:-LINES]
        return line


class Book:
    """Every experiment, by name."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.unknown: dict[str, tuple[str, ...]] = {}
        """Experiments that cannot begin, and the routes of theirs that are not known here."""

    # ----------------------------------------------------------------------------------------------------- what ended

    def told(self, settlement: Settlement) -> str | None:
        """A job has ended; returns the arm it was counted for."""
        trial = settlement.trial
        if trial is None or settlement.state is JobState.CANCELLED:
            return None
        account = self.accounts.get(trial.experiment)
        if account is None or trial.arm not in account.settings.weights:
            return None
        done = settlement.state is JobState.SUCCEEDED
        timed = done and trial.began > 0 and settlement.finished is not None
        account.of(trial.arm).see(
            Ended(
                bucket=trial.bucket,
                failed=not done,
                cost=None if settlement.cost is None else picodollars(settlement.cost),
                seconds=max(0.0, (settlement.finished or 0.0) - trial.began) if timed else None,
            )
        )
        account.fresh = True
        return trial.arm

    def scored(self, given: GivenScore) -> None:
        """Something was said of an answer."""
        trial = given.trial
        account = None if trial is None else self.accounts.get(trial.experiment)
        if trial is not None and account is not None and trial.arm in account.settings.weights:
            account.of(trial.arm).see(Scored(trial.bucket, given.metric, given.score))
            account.fresh = True

    # --------------------------------------------------------------------------------------------------- what is wanted

    def configure(self, wanted: Mapping[str, Experiment], routes: Collection[str], now: float) -> list[str]:
        """Take over what the operator has written now, as far as it may change while experiments run.

        Returns the names of those for which anything is different from before.
        """
        self.unknown = {}
        changed = [name for name, settings in wanted.items() if self._wanted(name, settings, routes, now)]
        for name, account in list(self.accounts.items()):
            if name in wanted:
                continue
            if account.ended is None:
                account.ended = now
                account.note(now, "ended", "the configuration has it no more", "configuration")
                changed.append(name)
            elif now - account.ended > KEPT:
                del self.accounts[name]
                changed.append(name)
        return changed

    def _wanted(self, name: str, settings: Experiment, routes: Collection[str], now: float) -> bool:
        account = self.accounts.get(name)
        missing = sorted({settings.served_by(arm) for arm in settings.weights} - set(routes))
        reasons = [f"route {route!r} is not known to the scheduler that leads: restart it" for route in missing]
        if account is None:
            if missing:
                self.unknown[name] = tuple(missing)
                return False
            made = self.accounts[name] = Account(settings, begun(now))
            made.note(now, "began", _said(settings), "configuration")
            return True
        reasons += refused(account.settings, settings)
        if account.ended is None and account.settings == settings:
            account.refused = ()
            return False
        if reasons:
            before, account.refused = account.refused, tuple(reasons)
            if before != account.refused:
                account.note(now, "refused", "; ".join(reasons), "configuration")
                return True
            return False
        words = _differences(account.settings, settings) or "it is in the configuration again"
        account.settings, account.ended, account.refused, account.fresh = settings, None, (), True
        account.note(now, "changed", words, "configuration")
        return True

    # ----------------------------------------------------------------------------------------------------- what is due

    def decide(self, now: float) -> list[tuple[str, Decision]]:
        """Look at every experiment that has something new, and move it as far as it is to go now."""
        done: list[tuple[str, Decision]] = []
        for name, account in self.accounts.items():
            if account.ended is None:
                done += [(name, decision) for decision in self._next(account, now)]
        return done

    def _next(self, account: Account, now: float) -> list[Decision]:
        settings, done = account.settings, list[Hold | Raise | Halt]()
        if account.fresh:
            control = account.of(CONTROL)
            account.compared = {arm: compare(settings, control, account.of(arm)) for arm in settings.challengers}
            account.fresh = False
        for _ in range(ROUNDS):
            jobs = account.jobs
            decision = decide(settings, account.progress, account.compared, jobs, now)
            if isinstance(decision, Hold):
                account.holding = decision.why
                break
            account.progress = moved(account.progress, decision, jobs, now)
            if isinstance(decision, Halt):
                account.note(now, "stopped", f"{decision.arm}: {decision.why}")
            else:
                share = account.progress.share(settings.ramp)
                account.note(now, "raised", f"to {100 * share:g} % of all units: {decision.why}")
            done.append(decision)
        return done

    def stop(self, name: str, arm: str, why: str, now: float) -> bool:
        """The operator's own word on an arm; False if it is stopped already."""
        account = self.accounts[name]
        if arm in account.progress.halted:
            return False
        account.progress = moved(account.progress, Halt(arm, why), account.jobs, now)
        account.note(now, "stopped", f"{arm}: {why}", "operator")
        return True


def _said(settings: Experiment) -> str:
    arms = ", ".join(f"{arm} ({told.route})" for arm, told in sorted(settings.challengers.items()))
    return f"{arms} beside {settings.route}"


def _differences(before: Experiment, after: Experiment) -> str:
    """Which fields were and are what."""
    fields = [name for name in Experiment.model_fields if getattr(before, name) != getattr(after, name)]
    return "; ".join(f"{name}: {_short(getattr(before, name))} -> {_short(getattr(after, name))}" for name in fields)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"

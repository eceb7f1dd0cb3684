"""What happened against what was promised (pure): the tour's figures, and a plain sentence for each broken promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from appliance.demo.books import Books, Guess
from appliance.demo.capped import Capped
from appliance.demo.stage import Billed, Use
from appliance.demo.staging import FAILING, LIMITED, LOSING
from appliance.demo.traffic import Story
from job_contracts.attempts import attempt_name
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Result


@dataclass(frozen=True, slots=True)
class Live:
    """The answer that was streamed to the terminal: its job, its text as it was read, how often the connection was cut.

    ``before`` and ``after``: pieces of text read before the cut and after it.
    """

    result: Result
    text: str
    cuts: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen. ``stored``: results in the stream, by job. ``interrupted``: answers that the killed
    worker was receiving when it was killed. ``restarts`` by process.
    """

    stories: Sequence[Story]
    live: Live
    http: Live
    """The same over HTTP."""
    capped: Capped
    books: Books
    stored: Mapping[str, int]
    billed: Mapping[str, Billed]
    uses: Mapping[str, Use]
    rate_limited: int
    interrupted: int
    restarts: Mapping[str, int]
    seconds: float

    @property
    def results(self) -> list[Result]:
        """Every result that a producer was given, both live ones and those of the small budget included."""
        return [
            self.live.result,
            self.http.result,
            *self.capped.results,
            *(story.result for story in self.stories if story.result is not None),
        ]

    @property
    def succeeded(self) -> list[Result]:
        """Those that carry an answer."""
        return [result for result in self.results if result.state is JobState.SUCCEEDED]

    @property
    def answered_twice(self) -> dict[str, int]:
        """Answers that each provider charges for beyond those that became results."""
        used = Counter(result.provider for result in self.succeeded)
        return {name: one.ok - used[name] for name, one in self.billed.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of seconds: the smallest value that at least that share of the values does not exceed."""

    p50: float
    p90: float
    p99: float


def spread(values: Iterable[float]) -> Spread | None:
    """Percentiles by the nearest rank; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p90, p99 = (ordered[max(0, ceil(share * len(ordered)) - 1)] for share in (0.50, 0.90, 0.99))
    return Spread(p50, p90, p99)


def failures(results: Iterable[Result]) -> Counter[tuple[str, FailureKind]]:
    """Attempts that failed and were made good by another, by provider and kind."""
    return Counter(
        (attempt.provider, attempt.failure.kind)
        for result in results
        for attempt in result.attempts
        if attempt.failure is not None
    )


def moved(results: Iterable[Result]) -> int:
    """Jobs that were answered by another provider than the one that tried first."""
    return sum(1 for result in results if result.attempts and result.attempts[0].provider != result.provider)


def broken_promises(seen: Evidence) -> list[str]:
    """A sentence for each promise that was not kept; none if all were."""
    return [
        *_about_results(seen),
        *_about_limits(seen),
        *_about_failures(seen),
        *_about_streams(seen),
        *_about_money(seen),
    ]


def _about_results(seen: Evidence) -> list[str]:
    said: list[str] = []
    missing = [story for story in seen.stories if story.result is None]
    if missing:
        example = missing[0]
        said.append(f"{len(missing)} jobs have no result, for example request {example.prompt.number}: {example.error}")
    failed = [one for one in seen.stories if one.result is not None and one.result.state is not JobState.SUCCEEDED]
    if failed:
        said.append(f"{len(failed)} jobs did not succeed, for example request {_told(failed[0])}")
    jobs = {story.job for story in seen.stories if story.job} | {seen.live.result.job, seen.http.result.job}
    jobs |= {result.job for result in seen.capped.results}
    absent, strange = jobs - set(seen.stored), set(seen.stored) - jobs
    double = [job for job, count in seen.stored.items() if count != 1]
    if absent:
        said.append(f"{len(absent)} accepted jobs have no result in the stream")
    if strange:
        said.append(f"the stream holds {len(strange)} results of jobs that nobody submitted")
    if double:
        said.append(f"{len(double)} jobs have more than one result in the stream")
    return said


def _told(story: Story) -> str:
    failure = story.result.failure if story.result is not None else None
    return f"{story.prompt.number}: {failure.kind.value}, {failure.message}" if failure else f"{story.prompt.number}"


def _about_limits(seen: Evidence) -> list[str]:
    said: list[str] = []
    if seen.rate_limited:
        said.append(f"providers answered 429 {seen.rate_limited} times: a limit was not held")
    use = seen.uses.get(LIMITED)
    if use is None:
        said.append(f"nothing was sent to {LIMITED}, so its limit was not put to the test")
    elif use.most > use.limit:
        said.append(f"{LIMITED} was asked {use.most} times in a window of {use.limit}")
    return said


def _about_failures(seen: Evidence) -> list[str]:
    said: list[str] = []
    kinds = failures(seen.results)
    if not any(provider == FAILING for provider, _ in kinds):
        said.append(f"no job met the outage of {FAILING}, so no failover was shown")
    if not seen.restarts.get(f"worker-{LOSING}"):
        said.append(f"the killed worker of {LOSING} was not started again")
    if not seen.interrupted:
        said.append(
            f"the worker of {LOSING} had no answer in flight when it was killed, so nothing was put to the test"
        )
    for name, twice in seen.answered_twice.items():
        failed = sum(count for (provider, _), count in kinds.items() if provider == name)
        if twice > failed:
            said.append(
                f"{name} charges for {twice} answers beyond its results, and only {failed} attempts failed there"
            )
        if twice < 0:
            said.append(f"{-twice} results of {name} have no answer that it charges for")
    return said


def _about_streams(seen: Evidence) -> list[str]:
    said: list[str] = []
    for name, live in (("live answer", seen.live), ("answer over HTTP", seen.http)):
        if not live.cuts or not live.before or not live.after:
            said.append(f"the connection of the {name} was not cut in its middle, so no resuming was shown")
        if live.result.answer is None or live.text != live.result.answer.text:
            said.append(f"the {name}, as it was read across the cut, is not the answer of its result")
    wrong = [story for story in seen.stories if not story.spliced]
    if wrong:
        said.append(
            f"{len(wrong)} streams do not add up to their answers, for example request {wrong[0].prompt.number}"
        )
    return said


def _about_money(seen: Evidence) -> list[str]:
    said: list[str] = []
    cap, books = seen.capped, seen.books
    if cap.metered.cost > cap.budget:
        said.append(f"${cap.metered.cost:f} was billed against a hard budget of ${cap.budget}")
    if cap.metered.cost != cap.told:
        said.append(
            f"results say ${cap.told:f} of the small budget was spent, its provider billed ${cap.metered.cost:f}"
        )
    if not cap.answered or not cap.refused:
        said.append("the small budget was not put to the test: it should pay for some jobs and not for others")
    if cap.answered + len(cap.refused) != len(cap.results):
        other = len(cap.results) - cap.answered - len(cap.refused)
        said.append(f"{other} jobs under the small budget failed for another reason")
    if books.ledger != books.facts:
        said.append(f"the ledger counts {books.ledger}, but LEDGER tells of {books.facts}")
    if books.differing or books.reported != books.metered:
        example = f", for example {books.differing[0]}" if books.differing else ""
        said.append(f"we say {books.reported}, the providers metered {books.metered}{example}")
    if books.unpriced:
        said.append(f"{books.unpriced} attempts have no cost, though every price is known")
    if len(failed := _failed(seen)) > sum(failures(seen.results).values()):
        said.append(f"{len(failed)} attempts are estimated, more than failed")
    return said


def _failed(seen: Evidence) -> list[Guess]:
    """Estimated attempts that no other explains: on a slow machine a worker that lives may be taken for lost, and the
    attempt that is made instead is stopped when the first one answers after all; it is in no result.
    """
    told = {attempt_name(one.project, one.job, each.number) for one in seen.results for each in one.attempts}
    stopped = FailureKind.CANCELLED.value
    return [guess for guess in seen.books.guesses if guess.why != stopped or guess.attempt in told]

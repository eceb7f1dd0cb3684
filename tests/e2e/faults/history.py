"""The judge of a run: reads its event log and says what went wrong. Pure: a log in, a verdict out.

Every rule looks at what producers were told, what the broker stored and what the providers billed; none of them at what
the run meant to do. The names I1 to I9 are those of the invariants in the model of the policy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from job_contracts import subjects
from job_contracts.attempts import attempt_name
from job_contracts.codec import decode
from job_contracts.jobs import JobState
from job_contracts.results import Result, cost_of_all
from tests.e2e.faults import events as log
from tests.e2e.faults import history_money as money
from tests.e2e.faults.history_book import Book, Flight, Strike, book_of, job_of
from tests.e2e.faults.violations import Violation

SLACK = 1.0
"""Seconds that a process of a busy machine may take between two of its own steps."""
ROUNDING = 0.05
"""Seconds by which two clocks read in one machine may seem to disagree."""
CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the log says. ``figures`` are counts for the report."""

    violations: tuple[Violation, ...]
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.violations


def judge(events: Iterable[log.Event]) -> Verdict:
    """Judge a whole log."""
    return judged(book_of(events))


def judged(book: Book) -> Verdict:
    """Judge what a log's tables say."""
    found = [violation for rule in RULES for violation in rule(book)]
    return Verdict(tuple(found), _figures(book, found))


def _figures(book: Book, found: list[Violation]) -> dict[str, int]:
    broken = defaultdict(set)
    for violation in found:
        broken[violation.rule].add(violation.about)
    states: dict[str, int] = defaultdict(int)
    for result in book.results.values():
        states[result.state.value] += 1
    return {
        "jobs accepted": len({_key(book, number) for number in _owed(book)}),
        "submissions accepted": len(book.acked),
        "records": len(book.records),
        **{f"records {state}": count for state, count in sorted(states.items())},
        "lost": len(broken["I1 lost"]),
        "duplicated": len(broken["I1 twice"]),
        "calls": len(book.calls),
        "bills": len(book.bills),
        "extra calls": sum(len(extra) for _, extra in extras(book)),
        "in flight at faults": sum(in_flight(book, strike) for strike in book.strikes),
        "facts": sum(map(len, book.facts.values())),
        "facts estimated": len(book.agreement.guesses),
        "attempts booked": len(book.booked),
        "faults": len(book.strikes),
        "violations": len(found),
    }


def _key(book: Book, number: int) -> tuple[str, str]:
    submission = book.submissions[number]
    return submission.project, submission.job


def _owed(book: Book) -> list[int]:
    """Submissions that were accepted, and not told afterwards that another job has their key."""
    return [number for number in book.acked if book.refused.get(number) != CONFLICT]


# -- I1, I6: one end for each job, the same for everybody who may see it, and for nobody else


def lost(book: Book) -> Iterator[Violation]:
    """Every accepted job has a record, and its producer was given it."""
    for number in _owed(book):
        project, job = _key(book, number)
        if (project, job) not in book.records:
            yield Violation("I1 lost", f"{project}.{job}", "it was accepted and has no result")
        elif number not in book.seen:
            yield Violation("I1 unseen", f"{project}.{job}", "it has a result that its producer was not given")


def twice(book: Book) -> Iterator[Violation]:
    """A job has one record, which never changes."""
    for (project, job), seqs in book.records.items():
        if len(seqs) > 1:
            yield Violation("I1 twice", f"{project}.{job}", f"it has results at the sequences {sorted(seqs)}")
    for project, job in book.differing:
        yield Violation("I1 changed", f"{project}.{job}", "its record was read with two different contents")
    for project, subject, body in _told(book):
        told = decode(Result, body)
        stored = book.results.get((told.project, told.job))
        if stored is None:
            yield Violation("I1 changed", subject, f"{project} was given a result that nobody stored")
        elif stored != told:
            yield Violation("I1 changed", subject, f"{project} was given another result than the one that is stored")


def _told(book: Book) -> Iterator[tuple[str, str, str]]:
    for number, seen in book.seen.items():
        for one in seen:
            yield one.project, f"{book.submissions[number].project}.{book.submissions[number].job}", one.body
    for heard in book.heard:
        yield heard.project, heard.subject, heard.body


def foreign(book: Book) -> Iterator[Violation]:
    """Nobody is given another project's result, or that of another job or body than it asked for."""
    for heard in book.heard:
        owner = subjects.project_and_job(heard.subject.removesuffix(".res"))[0]
        if heard.project != owner or heard.project != decode(Result, heard.body).project:
            yield Violation("I6 foreign", heard.subject, f"{heard.project} heard a result of {owner}")
    for number, seen in book.seen.items():
        submission = book.submissions[number]
        about = f"{submission.project}.{submission.job}"
        for one in seen:
            told = decode(Result, one.body)
            if told.project != submission.project or one.project != submission.project:
                yield Violation("I6 foreign", about, f"{one.project} was given a result of {told.project}")
            elif told.job != submission.job:
                yield Violation("I6 foreign", about, f"its producer was given the result of {told.job}")
            elif told.body_hash != submission.body_hash:
                yield Violation("I8 key", about, "a submission was answered with the result of another body")


def conflicts(book: Book) -> Iterator[Violation]:
    """A conflict is told only to those whose body differs from that of the job that has their key."""
    for number, why in book.refused.items():
        submission = book.submissions[number]
        result = book.results.get((submission.project, submission.job))
        if why == CONFLICT and (result is None or result.body_hash == submission.body_hash):
            about = f"{submission.project}.{submission.job}"
            yield Violation("I8 key", about, "a conflict was told, and there is no other body under that key")


def left_behind(book: Book) -> Iterator[Violation]:
    """At the end no submission waits and no assignment lies with a pool."""
    for message in book.left:
        yield Violation("left behind", message.subject, f"it still lies in {message.stream} at {message.seq}")
    for message in book.unreadable:
        yield Violation("unreadable", message.subject, f"{message.stream} {message.seq} is not what its subject says")


# -- I2: limits, from the provider's log


def limits(book: Book) -> Iterator[Violation]:
    """No provider refused a call for its limit, and no stretch of its log holds more than B + r*t calls."""
    for call in book.calls:
        if call.outcome == "rate_limited":
            yield Violation("I2 limit", call.provider, f"it refused {call.attempt} for its own limit")
    for limit in book.began.limits:
        starts = sorted(call.at for call in book.calls if call.provider == limit.provider)
        yield from _over(limit, starts)


def _over(limit: log.LimitTold, starts: list[float]) -> Iterator[Violation]:
    """B is what may be used at once, r the rest over the window; calls may arrive ``skew`` late."""
    size = max(1.0, min(limit.amount * limit.burst, limit.amount / 2))
    rate = (limit.amount - size) / (limit.window + limit.skew)
    level, before, first, worst = 0.0, 0.0, 0, 0.0
    for number, at in enumerate(starts):
        level = max(0.0, level - rate * (at - before)) + 1.0
        before = at
        worst = max(worst, level - size - rate * limit.skew)
        while starts[first] <= at - limit.window:
            first += 1
        if number - first + 1 > limit.amount:
            words = f"{number - first + 1} calls in {limit.window:g} s, the limit is {limit.amount:g}"
            yield Violation("I2 window", limit.provider, words)
    if worst > 0.0:
        words = f"{worst:.1f} calls more than B + r*t, with B = {size:g} and r = {rate:.2f}/s"
        yield Violation("I2 bucket", limit.provider, words)


# -- I5 and times


def cancelled(book: Book) -> Iterator[Violation]:
    """A job that was cancelled before it was dispatched is not called."""
    for (project, job), at in book.cancels.items():
        held = max((one.not_before or 0.0 for one in book.wishes.get((project, job), ())), default=0.0)
        late = at if held > at else at + book.began.grant_valid + SLACK
        for flight in book.flights.get((project, job), ()):
            if flight.call.at > late:
                words = f"called {flight.call.at - at:.2f} s after its cancel was recorded"
                yield Violation("I5 cancelled", f"{project}.{job}", words)


def times(book: Book) -> Iterator[Violation]:
    """No call begins before ``not_before`` or after the deadline, and nothing succeeds after it."""
    for (project, job), wished in book.wishes.items():
        about = f"{project}.{job}"
        first = min(one.not_before or 0.0 for one in wished)
        last = max(one.deadline or float("inf") for one in wished)
        for flight in book.flights.get((project, job), ()):
            if flight.call.at < first - ROUNDING:
                yield Violation("times", about, f"called {first - flight.call.at:.2f} s before its time")
            if flight.call.at > last + SLACK:
                yield Violation("times", about, f"called {flight.call.at - last:.2f} s after its deadline")
        result = book.results.get((project, job))
        if result is not None and result.state is JobState.SUCCEEDED and result.times.finished > last + SLACK:
            yield Violation("times", about, f"succeeded {result.times.finished - last:.2f} s after its deadline")


# -- I7: the accounts


def accounts(book: Book) -> Iterator[Violation]:
    """Every call has a fact with what was billed, or an estimate where a fault took its worker; no fact is invented.

    Of the facts that count, those whose usage was reported say what was billed to the token and the picodollar.
    An estimate of a call that no provider knows is none: an attempt may be cut off before its request is out.
    """
    for flights in book.flights.values():
        for flight in flights:
            yield from _accounted(book, flight)
    called = {call.attempt for call in book.calls}
    for attempt, facts in book.facts.items():
        for fact in facts:
            if attempt not in called and fact.usage.total and fact.usage.reported:
                yield Violation("I7 fact", attempt, f"{fact.usage.total} tokens of a call that no provider knows")
    for wrong in book.agreement.wrong if book.bills else ():
        yield Violation("I7 money", wrong.partition(" ")[0].rstrip(":"), wrong)
    counted: dict[str, int] = defaultdict(int)
    tokens: dict[str, int] = defaultdict(int)
    for call in book.calls:
        counted[call.provider] += 1
        tokens[call.provider] += call.input_tokens + call.output_tokens
    for meter in book.metered:
        billed = meter.input_tokens + meter.output_tokens
        if (meter.requests, billed) != (counted[meter.provider], tokens[meter.provider]):
            words = f"billed are {meter.requests} calls and {billed} tokens, its log has "
            yield Violation("I7 meter", meter.provider, f"{words}{counted[meter.provider]}, {tokens[meter.provider]}")


def receipts(book: Book) -> Iterator[Violation]:
    """A result says of each attempt what its facts do, leaves none out, and costs what all of them did.

    An estimate may have been outweighed since: then another fact of the attempt says what the result does.
    """
    for (project, job), result in book.results.items():
        about = f"{project}.{job}"
        if result.cost != cost_of_all(result.attempts):
            yield Violation("I7 receipt", about, f"it says {result.cost}, its attempts {cost_of_all(result.attempts)}")
        for record in result.attempts:
            attempt = attempt_name(project, job, record.number)
            counting, facts = book.counting.get(attempt), book.facts.get(attempt, [])
            right = (counting.cost if counting is not None else Decimal(0),)
            said = right if record.usage.reported else (*right, *(fact.cost for fact in facts))
            if record.cost not in said:
                yield Violation("I7 receipt", attempt, f"its result says {record.cost}, its facts {said}")
        told = {record.number for record in result.attempts}
        for number, fact in book.paid.get((project, job), {}).items():
            if number < max(told, default=0) and number not in told:
                yield Violation("I7 receipt", fact.attempt, f"it cost {fact.cost}, and its job's result leaves it out")


def _accounted(book: Book, flight: Flight) -> Iterator[Violation]:
    call = flight.call
    if not call.attempt:
        yield Violation("I7 unaccounted", call.provider, f"a call at {call.at:.3f} names no attempt")
        return
    facts = book.facts.get(call.attempt, [])
    if not facts:
        yield Violation(
            "I7 unaccounted", call.attempt, f"{call.provider} billed a call ({call.outcome}) without a fact"
        )
    elif call.outcome == "ok" and not any(
        (fact.usage.input, fact.usage.output) == (call.input_tokens, call.output_tokens) for fact in facts
    ):
        estimated = any(not fact.usage.reported for fact in facts)
        if not estimated or not (_cut_short(book, flight) or any(flight.under(one, SLACK) for one in book.strikes)):
            told = [(fact.usage.input, fact.usage.output) for fact in facts]
            words = f"billed are {(call.input_tokens, call.output_tokens)}, told are {told}"
            yield Violation("I7 tokens", call.attempt, words)


def _cut_short(book: Book, flight: Flight) -> bool:
    """Whether its producer's cancel or its deadline fell into the call: the worker hung up on an answer on its way."""
    job = job_of(flight.call.attempt)
    ends = [one.deadline for one in book.wishes.get(job, ()) if one.deadline is not None]
    ends += [book.cancels[job]] if job in book.cancels else []
    return any(flight.call.at - SLACK <= end <= flight.until + SLACK for end in ends)


# -- calls beyond one a job


def extras(book: Book) -> Iterator[tuple[tuple[str, str], list[Flight]]]:
    """For each job that has more than one call its provider did not spoil: all of these but the last."""
    for job, flights in book.flights.items():
        whole = [flight for flight in flights if not flight.spoiled]
        if len(whole) > 1:
            yield job, whole[:-1]


def in_flight(book: Book, strike: Strike) -> int:
    """Calls that were under way when a fault struck, and within its reach."""
    return sum(
        strike.reaches(flight.call.provider) and flight.call.at <= strike.at <= flight.until
        for flights in book.flights.values()
        for flight in flights
    )


def extra(book: Book) -> Iterator[Violation]:
    """Each call beyond a job's first follows one that a fault hit; they are at most what was in flight then."""
    total = 0
    for (project, job), wasted in extras(book):
        total += len(wasted)
        for flight in wasted:
            if not any(flight.under(strike, SLACK) for strike in book.strikes):
                words = f"called again although no fault struck {flight.call.attempt}"
                yield Violation("extra call", f"{project}.{job}", words)
    most = sum(in_flight(book, strike) for strike in book.strikes)
    if total > most:
        yield Violation("extra calls", "all jobs", f"{total}, and {most} were in flight at the faults")
    names: dict[str, int] = defaultdict(int)
    for call in book.calls:
        names[call.attempt] += bool(call.attempt)
    for name, count in names.items():
        if count > 1:
            yield Violation("extra call", name, f"one attempt made {count} calls")


# -- I9: streams


def streams(book: Book) -> Iterator[Violation]:
    """Within a generation a stream's sequences have no gap, generations only rise, and the last tells the answer."""
    for stream in book.streamed:
        submission = book.submissions[stream.number]
        about = f"{submission.project}.{submission.job}"
        before = (0, 0)
        for place in stream.places:
            if place != before and place != (before[0], before[1] + 1) and (place[0] <= before[0] or place[1] > 1):
                yield Violation("I9 gap", about, f"{before} is followed by {place}")
            before = place
        result = book.results.get((submission.project, submission.job))
        if result is not None and result.answer is not None and result.answer.text != stream.text:
            yield Violation("I9 text", about, "what was streamed is not the answer")


RULES: tuple[Callable[[Book], Iterator[Violation]], ...] = (
    lost,
    twice,
    foreign,
    conflicts,
    left_behind,
    limits,
    cancelled,
    times,
    accounts,
    receipts,
    money.booked,
    extra,
    streams,
)

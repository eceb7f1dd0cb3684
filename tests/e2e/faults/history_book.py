"""A log turned into tables: submissions, records, calls, facts, faults. It judges nothing. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from job_contracts import subjects
from job_contracts.attempts import Outcome, attempt_name
from job_contracts.codec import ContractError, decode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.results import Result
from simulator.reports import BillLine
from tests.e2e.faults import events as log
from tests.support.agreement import Agreement, agreement, counting

JobKey = tuple[str, str]
"""Project and job id."""

_RES, _OUT, _USAGE = (f"{subjects.PREFIX}.{word}." for word in ("res", "out", "usage"))
BY_THE_PROVIDER = ("rate_limited", "refused", "failed", "broken")
"""How calls end that the provider itself spoiled: each entitles the job to another one."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault from its beginning until its targets ran again."""

    struck: log.Struck
    until: float

    @property
    def at(self) -> float:
        return self.struck.at

    def reaches(self, pool: str) -> bool:
        """No job waits for the ledger, so its end excuses nothing."""
        return self.struck.what != "ledger kill" and (not self.struck.pools or pool in self.struck.pools)


@dataclass(frozen=True, slots=True)
class Flight:
    """A call with the time for which its attempt was under way: until what became of it was stored."""

    call: log.Called
    until: float

    @property
    def spoiled(self) -> bool:
        """Whether the provider ended it, of its own doing or by a fault of its own."""
        return self.call.outcome in BY_THE_PROVIDER or (self.call.outcome == "aborted" and bool(self.call.fault))

    def under(self, strike: Strike, grace: float = 0.0) -> bool:
        """Whether it was under way at some time of the fault, and within its reach."""
        return (
            strike.reaches(self.call.provider)
            and self.call.at <= strike.until + grace
            and self.until >= strike.at - grace
        )


@dataclass
class Book:
    """The tables. ``records`` holds each sequence on which a job's result was ever seen, with its text."""

    began: log.Began = field(default_factory=lambda: log.Began(at=0.0, seed=0, pools=()))
    submissions: dict[int, log.Submitted] = field(default_factory=dict)
    acked: dict[int, float] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    cancels: dict[JobKey, float] = field(default_factory=dict)
    seen: dict[int, list[log.Seen]] = field(default_factory=lambda: defaultdict(list))
    heard: list[log.Heard] = field(default_factory=list)
    streamed: list[log.Streamed] = field(default_factory=list)
    records: dict[JobKey, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    differing: list[JobKey] = field(default_factory=list)
    """Jobs whose record was seen with two texts at one sequence."""
    reported: dict[str, float] = field(default_factory=dict)
    """When what became of an attempt was stored, by its name."""
    facts: dict[str, list[AttemptFact]] = field(default_factory=lambda: defaultdict(list))
    calls: list[log.Called] = field(default_factory=list)
    metered: list[log.Metered] = field(default_factory=list)
    bills: list[BillLine] = field(default_factory=list)
    booked: dict[str, log.Booked] = field(default_factory=dict)
    """Attempts in the ledger's database, by name."""
    summed: list[log.Summed] = field(default_factory=list)
    struck: list[log.Struck] = field(default_factory=list)
    mended: dict[int, float] = field(default_factory=dict)
    disturbed: list[log.Disturbed] = field(default_factory=list)
    said: list[log.Said] = field(default_factory=list)
    left: list[log.Stored] = field(default_factory=list)
    """What lay in SUBMIT and WORK at the end, besides lease and barriers."""
    unreadable: list[log.Stored] = field(default_factory=list)

    @cached_property
    def results(self) -> dict[JobKey, Result]:
        """The first record of each job."""
        return {job: decode(Result, seqs[min(seqs)]) for job, seqs in self.records.items()}

    @cached_property
    def agreement(self) -> Agreement:
        """What the facts say was spent against what was billed, to the token and the picodollar."""
        return agreement((fact for facts in self.facts.values() for fact in facts), self.bills)

    @cached_property
    def counting(self) -> dict[str, AttemptFact]:
        """Of each attempt's facts the one that counts."""
        return counting(fact for facts in self.facts.values() for fact in facts)

    @cached_property
    def paid(self) -> dict[JobKey, dict[int, AttemptFact]]:
        """Of each job the attempts that cost something, by number."""
        found: dict[JobKey, dict[int, AttemptFact]] = defaultdict(dict)
        for fact in self.counting.values():
            if fact.cost:
                found[job_of(fact.attempt)][int(fact.attempt.rpartition(".")[2])] = fact
        return found

    @cached_property
    def wishes(self) -> dict[JobKey, list[log.Submitted]]:
        """The submissions of each job."""
        found: dict[JobKey, list[log.Submitted]] = defaultdict(list)
        for one in self.submissions.values():
            found[one.project, one.job].append(one)
        return found

    @cached_property
    def strikes(self) -> list[Strike]:
        """Faults in order of time; one that nobody mended lasts until the end."""
        end = max((call.ended for call in self.calls), default=0.0)
        found = [Strike(one, max(one.at, self.mended.get(one.id, end))) for one in self.struck]
        return sorted(found, key=lambda strike: strike.at)

    @cached_property
    def flights(self) -> dict[JobKey, list[Flight]]:
        """The calls of each job in order of time; calls without a readable name are under ``("", "")``."""
        by_job: dict[JobKey, list[log.Called]] = defaultdict(list)
        for call in sorted(self.calls, key=lambda one: one.at):
            by_job[job_of(call.attempt)].append(call)
        return {job: self._flights(calls) for job, calls in by_job.items()}

    def _flights(self, calls: list[log.Called]) -> list[Flight]:
        flights = []
        for number, call in enumerate(calls):
            told = self.reported.get(call.attempt)
            if told is None:  # nobody said what became of it: until another call took its place
                told = calls[number + 1].at if number + 1 < len(calls) else call.ended
            flights.append(Flight(call, max(call.ended, told)))
        return flights


def job_of(attempt: str) -> JobKey:
    """Project and job of an attempt's name."""
    parts = attempt.rsplit(".", 2)
    return (parts[0], parts[1]) if len(parts) == 3 and parts[2].isdecimal() else ("", "")


def book_of(events: Iterable[log.Event]) -> Book:
    """Read a whole log."""
    book = Book()
    for event in events:
        _enter(book, event)
    return book


def _enter(book: Book, event: log.Event) -> None:  # noqa: C901 - one branch a kind of event
    match event:
        case log.Began():
            book.began = event
        case log.Submitted():
            book.submissions[event.number] = event
        case log.Acked():
            book.acked[event.number] = event.at
        case log.Refused():
            book.refused[event.number] = event.why
        case log.CancelAcked():
            job = (event.project, event.job)
            book.cancels[job] = min(event.at, book.cancels.get(job, event.at))
        case log.Seen():
            book.seen[event.number].append(event)
        case log.Heard():
            book.heard.append(event)
        case log.Streamed():
            book.streamed.append(event)
        case log.Called():
            book.calls.append(event)
        case log.Metered():
            book.metered.append(event)
        case log.Billed():
            book.bills.append(event.line)
        case log.Booked():
            book.booked[event.attempt] = event
        case log.Summed():
            book.summed.append(event)
        case log.Struck():
            book.struck.append(event)
        case log.Mended():
            book.mended[event.id] = event.at
        case log.Disturbed():
            book.disturbed.append(event)
        case log.Said():
            book.said.append(event)
        case log.Stored():
            _enter_stored(book, event)


def _enter_stored(book: Book, message: log.Stored) -> None:
    try:
        if message.subject.startswith(_RES):
            _enter_record(book, message)
        elif message.subject.startswith(_OUT):
            outcome = decode(Outcome, message.body)
            _report(book, attempt_name(outcome.project, outcome.job_id, outcome.record.number), message.at)
        elif message.subject.startswith(_USAGE):
            for fact in decode(Facts, message.body).facts:
                if fact not in book.facts[fact.attempt]:
                    book.facts[fact.attempt].append(fact)
        elif message.seen == "dump" and _is_work(message.subject):
            book.left.append(message)
    except ContractError:
        book.unreadable.append(message)


def _enter_record(book: Book, message: log.Stored) -> None:
    job = subjects.project_and_job(message.subject)
    result = decode(Result, message.body)
    if book.records[job].setdefault(message.seq, message.body) != message.body:
        book.differing.append(job)
    if result.attempts and message.seen == "tail":
        _report(book, attempt_name(result.project, result.job, result.attempts[-1].number), message.at)


def _report(book: Book, attempt: str, at: float) -> None:
    book.reported[attempt] = min(at, book.reported.get(attempt, at))


def _is_work(subject: str) -> bool:
    return subject.startswith((f"{subjects.PREFIX}.q.", f"{subjects.PREFIX}.work."))

"""Within a project: priority, deadline, arrival; and what cannot go now never holds up what can.

Caught here: a heap keyed by the time of eligibility, a head of a queue that blocks, an entry of a cancelled job that is
served, a requeued job that loses its place, a run that is taken for sorted when it is not.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_contracts.attempts import LimitReading
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.facts import LimitsRead, PoolSeen
from scheduler.policy.jobs import GONE, PARKED, QUEUED, Job
from scheduler.policy.queues import Calendar, key_of
from scheduler.policy.rules import Limit
from scheduler.policy.world import World
from tests.unit.scheduler_policy import made

ranks = st.lists(st.tuples(st.integers(0, 9), st.floats(1.0, 1e5)), min_size=1, max_size=60)


@given(ranks=ranks, data=st.data())
def test_a_project_is_served_by_priority_then_deadline_then_arrival(
    ranks: list[tuple[int, float]], data: st.DataObject
) -> None:
    board = made.board()
    facts = [made.job(n, priority=priority, deadline=deadline) for n, (priority, deadline) in enumerate(ranks)]
    made.submit(board, *facts)
    gone = set(data.draw(st.lists(st.sampled_from(facts), max_size=len(facts) // 2)))
    for fact in facts:
        if fact in gone:
            board.apply(made.cancel(fact), 0.0)
    expected = sorted((fact for fact in facts if fact not in gone), key=lambda f: (f.priority, f.deadline, f.seq))
    served: list[str] = []
    while len(served) < len(expected):
        served += [dispatch.job for dispatch in made.dispatched(board, 0.0, room=data.draw(st.integers(1, 5)))]
    assert served == [fact.job for fact in expected]


@given(ranks=ranks, data=st.data())
def test_the_order_holds_across_routes_that_share_a_domain(ranks: list[tuple[int, float]], data: st.DataObject) -> None:
    board = made.board(made.rules({"r": ("a/m",), "s": ("a/n",), "t": ("a/m", "a/n")}))
    facts = [
        made.job(n, priority=priority, deadline=deadline, route=data.draw(st.sampled_from("rst")))
        for n, (priority, deadline) in enumerate(ranks)
    ]
    made.submit(board, *facts)
    expected = sorted(facts, key=lambda f: (f.priority, f.deadline, f.seq))
    assert [dispatch.job for dispatch in made.dispatched(board)] == [fact.job for fact in expected]


def test_routes_that_were_used_once_cost_nothing_later() -> None:
    names = [f"a/m{n}" for n in range(6)]
    board = made.board(made.rules({"r": tuple(names)}, max_attempts=50))
    for n in range(60):
        made.submit(board, made.job(n))
        for _ in range(n % 7):
            for dispatch in made.dispatched(board, float(n)):
                board.apply(made.ended(dispatch, FailureKind.MODEL_OUTPUT_INVALID), float(n))
        for dispatch in made.dispatched(board, n + 0.9):
            board.apply(made.succeeded(dispatch), n + 0.9)
    now = 60.0
    while board.counts().unfinished:
        for decision in board.decide(now, 100):
            ends = isinstance(decision, Finish)
            board.apply(made.settled(decision) if ends else made.succeeded(decision), now)  # type: ignore[arg-type]
        now = board.next_wake(now) or now
    assert len(board._world.routes["r"].groups) > 3
    assert len(board._world.gates["a"].rings) == 0


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 3), st.floats(0, 50)),
            st.tuples(st.just("pop"), st.just(0), st.just(0.0)),
            st.tuples(st.just("leave"), st.integers(0, 1000), st.just(0.0)),
            st.tuples(st.just("back"), st.integers(0, 1000), st.just(0.0)),
        ),
        max_size=300,
    )
)
def test_the_queue_is_a_sorted_list_that_is_cheaper(steps: list[tuple[str, int, float]]) -> None:
    world = World(made.rules())
    route = world.routes["r"]
    flow = route.group(0, 0).flow(1, world.tenants["p"])
    model: list[Job] = []
    away: list[Job] = []
    for seq, (what, number, deadline) in enumerate(steps):
        if what == "push":
            job = Job(made.job(seq, priority=number), world.tenants["p"], route, deadline)
            job.flow = flow
            model.append(job)
            flow.queue.push(job)
        elif what == "pop" and model:
            head = flow.queue.head()
            assert head is min(model, key=key_of)
            assert head is not None
            flow.queue.pop(head)
            head.state = PARKED
            model.remove(head)
            away.append(head)
        elif what == "leave" and model:
            job = model.pop(number % len(model))
            job.state = PARKED
            flow.queue.leave()
            away.append(job)
        elif what == "back" and away:
            job = away.pop(number % len(away))
            job.state = QUEUED
            flow.queue.push(job)
            model.append(job)
        assert flow.queue.count == len(model)
        assert flow.queue.head() is (min(model, key=key_of) if model else None)


@settings(max_examples=60)
@given(
    deadlines=st.lists(st.floats(0.0, 30.0), max_size=80),
    gone=st.lists(st.integers(0, 79), max_size=60),
    looks=st.lists(st.floats(0.0, 4.0), min_size=1, max_size=30),
)
def test_the_calendar_gives_each_deadline_once_in_order_and_never_late(
    deadlines: list[float], gone: list[int], looks: list[float]
) -> None:
    world, calendar, now = World(made.rules()), Calendar(), 0.0
    jobs = [Job(made.job(n), world.tenants["p"], world.routes["r"], at) for n, at in enumerate(deadlines)]
    for job in jobs:
        calendar.add(job)
    for number in dict.fromkeys(gone):
        if number < len(jobs):
            jobs[number].state = GONE
            calendar.gone(jobs[number], now)
    alive = [job for job in jobs if job.state != GONE]
    for pause in [*looks, 1000.0]:
        coming = calendar.next()
        assert coming is None or coming <= min((job.deadline for job in alive), default=1e9)
        now += pause
        due = list(calendar.due(now))
        assert due == sorted((job for job in alive if job.deadline <= now), key=lambda job: (job.deadline, job.seq))
        alive = [job for job in alive if job.deadline > now]
    assert calendar.next() is None


def test_the_calendar_forgets_settled_jobs_long_before_their_deadline() -> None:
    board = made.board()
    for n in range(20_000):
        made.submit(board, made.job(n, submitted=n * 0.01))
        for dispatch in made.dispatched(board, n * 0.01):
            board.apply(made.succeeded(dispatch), n * 0.01)
    calendar = board._backlog._calendar
    assert sum(len(page) for page in calendar._pages.values()) < 1000


def test_a_closed_domain_or_a_dead_pool_holds_up_nobody_else() -> None:
    rules = made.rules({"x": ("a/m",), "y": ("b/m",), "z": ("c/m",)})
    board = made.board(rules)
    board.apply(PoolSeen("c", 0), 0.0)
    made.submit(board, made.job(1, route="x"))
    refused = made.dispatched(board)[0]
    board.apply(made.ended(refused, FailureKind.RATE_LIMIT, retry_after=50.0), 0.0)
    made.submit(board, *[made.job(n, route="xyz"[n % 3]) for n in range(2, 302)])
    assert {dispatch.domain for dispatch in made.dispatched(board)} == {"b"}
    assert board.next_wake(0.0) == 50.0
    assert {dispatch.domain for dispatch in made.dispatched(board, 50.0)} == {"a"}


def test_ten_thousand_jobs_that_cannot_go_cost_nothing_to_pass_over() -> None:
    rules = made.rules({"x": ("a/m",), "y": ("b/m",)}, limits={"a": (Limit("requests", 1),)})
    board = made.board(rules)
    made.submit(board, *[made.job(n, route="x") for n in range(10_000)])
    made.dispatched(board)
    looked = 0

    class Watched(Job):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            nonlocal looked
            looked += 1
            return super().__getattribute__(name)

    for group in board._world.routes["x"].groups:
        for job in group.flows[0].queue.jobs():
            job.__class__ = Watched
    made.submit(board, *[made.job(20_000 + n, route="y") for n in range(100)])
    assert len(made.dispatched(board)) == 100
    assert looked < 100


def test_not_before_says_when_a_job_joins_and_not_where() -> None:
    board = made.board()
    made.submit(
        board,
        made.job(1, not_before=10.0, deadline=100.0),
        made.job(2, not_before=5.0, deadline=200.0),
        made.job(3, deadline=300.0, not_before=10.0),
    )
    assert made.dispatched(board, 0.0) == []
    assert board.next_wake(0.0) == 5.0
    assert [dispatch.job for dispatch in made.dispatched(board, 12.0)] == ["j-1", "j-2", "j-3"]


def test_a_job_whose_deadline_passes_in_the_queue_expires_and_says_what_it_waited_for() -> None:
    board = made.board(made.rules(limits={"a": (Limit("requests", 1),)}))
    made.submit(board, made.job(1, priority=0), made.job(2, deadline=7.5))
    made.dispatched(board)
    assert board.next_wake(0.0) is not None
    assert board.decide(7.4, 10) == []
    (finish,) = made.finishes(board.decide(7.5, 10))
    assert (finish.job, finish.state, finish.failure.kind) == ("j-2", JobState.EXPIRED, FailureKind.EXPIRED)
    assert "the limit of requests of a" in finish.failure.message
    assert finish.failure.remedy


def test_a_deadline_that_has_passed_already_expires_before_anything_is_spent() -> None:
    board = made.board()
    made.submit(board, made.job(1, deadline=4.0, submitted=3.0), now=5.0)
    (finish,) = board.decide(5.0, 10)
    assert made.finishes([finish])[0].state is JobState.EXPIRED


def test_a_deadline_that_passes_under_way_stops_the_attempt_and_expires_the_job() -> None:
    board = made.board()
    made.submit(board, made.job(1, deadline=5.0))
    (dispatch,) = made.dispatched(board)
    (abort,) = made.aborts(board.decide(5.0, 10))
    assert (abort.job, abort.attempt, abort.deployment) == ("j-1", 1, "a/m")
    assert board.decide(6.0, 10) == []
    board.apply(made.ended(dispatch, FailureKind.CANCELLED), 6.0)
    (finish,) = made.finishes(board.decide(6.0, 10))
    assert finish.state is JobState.EXPIRED


@pytest.mark.parametrize("remaining", [0, 3])
def test_a_refused_batch_goes_back_to_where_it_was(remaining: int) -> None:
    board = made.board(made.rules(limits={"a": (Limit("requests", 600),)}))
    if remaining:
        reading = LimitReading(unit="requests", limit=600, remaining=remaining)
        board.apply(LimitsRead("a/m", (reading,)), 0.0)
    made.submit(board, *[made.job(n, deadline=1000.0 - n) for n in range(20)])
    before = board.levels(0.0)
    decided = board.decide(0.0, 100)
    board.refused([d for d in decided if isinstance(d, Dispatch)], 0.0)
    assert board.levels(0.0) == before
    assert board.decide(0.0, 100) == decided

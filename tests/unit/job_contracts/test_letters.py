"""Which jobs leave a letter, and what a replay of one is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.codec import ContractError, decode, encode
from job_contracts.failures import PERMITS, Action, Failure, FailureKind
from job_contracts.jobs import Job, JobState, Ticket, body_hash
from job_contracts.letters import (
    MAX_HISTORY,
    DeadLetter,
    leaves_letter,
    replay_of,
    resubmission,
    summary,
    told,
)
from job_contracts.results import AttemptRecord
from job_contracts.subjects import check_job_id, names_one_submission, replay_job_id
from tests.support import builders, strategies, strategies_plain

K = FailureKind
NONE = {
    *(K.CONTENT_POLICY, K.BAD_REQUEST, K.UNSUPPORTED_PARAM, K.CONTEXT_OVERFLOW, K.REQUEST_EXCEEDS_LIMIT),
    *(K.RESPONSE_TOO_LARGE, K.CANCELLED, K.EXPIRED, K.INVALID_JOB, K.UNKNOWN_ROUTE, K.FORBIDDEN),
    *(K.IDEMPOTENCY_CONFLICT, K.QUEUE_FULL, K.BUDGET, K.NO_DEPLOYMENT, K.CONSTRAINT),
}
"""The request's own fault, turned away at the door, or asked for."""


def failed(kind: FailureKind, number: int = 1) -> AttemptRecord:
    failure = Failure(kind=kind, message="no")
    return AttemptRecord(
        number=number, deployment="a/m", provider="a", model="m", started=0, seconds=1, failure=failure
    )


def letter(ticket: Ticket, **over: object) -> DeadLetter:
    made = DeadLetter(
        project="demo", job="a-1", reason="exhausted", detail="no", fingerprint="f", at=1.0, ticket=ticket, attempts=1
    )
    return made.model_copy(update=over)


def ticket(body: bytes, **over: object) -> Ticket:
    made = Ticket(route="fast", submitted=1.0, token="t", body_hash=body_hash(body), input_estimate=5)
    return made.model_copy(update=over)


def test_every_kind_of_failure_is_decided() -> None:
    assert {kind for kind in K if not PERMITS[kind].letter} == NONE


@pytest.mark.parametrize("kind", list(K))
def test_a_job_that_was_given_up_is_judged_by_its_attempts(kind: FailureKind) -> None:
    ended = Failure(kind=K.RETRIES_EXHAUSTED, message="given up")
    assert leaves_letter("a-1", JobState.FAILED, ended, (failed(kind),)) is (kind not in NONE)
    mixed = (failed(kind), failed(K.SERVER_ERROR, 2))
    assert leaves_letter("a-1", JobState.FAILED, ended, mixed)
    assert leaves_letter("a-1", JobState.FAILED, ended, ())


def test_other_ends_leave_none() -> None:
    for state in (JobState.SUCCEEDED, JobState.CANCELLED, JobState.EXPIRED):
        assert not leaves_letter("a-1", state, Failure(kind=K.INTERNAL, message="x"), ())
    assert not leaves_letter("a-1", JobState.FAILED, None, ())


@pytest.mark.parametrize("kind", [K.QUEUE_FULL, K.NO_DEPLOYMENT, K.UNKNOWN_ROUTE, K.BAD_REQUEST])
def test_a_replay_that_fails_is_kept_as_no_other_job_is_because_its_letter_has_given_its_body_away(kind: K) -> None:
    failure = Failure(kind=kind, message="no")
    assert not leaves_letter("a-1", JobState.FAILED, failure, ())
    assert leaves_letter(replay_job_id("a-1", "t"), JobState.FAILED, failure, ())


@given(strategies_plain.job_ids, strategies_plain.words, strategies_plain.job_ids, strategies_plain.words)
def test_the_replays_id_is_a_job_id_made_of_the_submission(job: str, token: str, other: str, theirs: str) -> None:
    made = replay_job_id(job, token)
    assert check_job_id(made) == replay_job_id(job, token)
    assert not names_one_submission(made), "its result is looked up before it runs"
    assert (made == replay_job_id(other, theirs)) == ((job, token) == (other, theirs))


@given(strategies.whole_jobs(), st.sampled_from([None, "other"]))
def test_a_replay_is_the_same_job_under_a_new_id_the_same_bytes_every_time(job: Job, route: str | None) -> None:
    body = encode(job)
    of = letter(ticket(body, route=job.route), job=job.id)
    begun = replay_of(of, route, 10.0)
    data, again = resubmission(of, begun, body)
    assert (data, again) == resubmission(of, begun, body)
    new = decode(Job, data)
    assert (new.id, new.route, new.replay_of) == (begun.job, route or job.route, job.id)
    assert (new.idempotency_key, new.deadline, new.not_before) == (None, None, None)
    assert new.model_copy(update={"id": job.id, "route": job.route, "replay_of": job.replay_of}) == job.model_copy(
        update={"idempotency_key": None, "deadline": None, "not_before": None}
    )
    assert (again.route, again.body_hash, again.replay_of) == (new.route, body_hash(data), job.id)
    assert again.token != of.token


def test_what_a_newer_version_wrote_into_a_body_stays_in_it() -> None:
    body = encode(builders.job(id="a-1"))[:-1] + b',"colour":"blue"}'
    of = letter(ticket(body))
    assert b'"colour":"blue"' in resubmission(of, replay_of(of, None, 1.0), body)[0]


def test_moments_that_have_passed_are_dropped_and_those_to_come_stand() -> None:
    body = encode(builders.job(id="a-1"))
    for moment, kept in ((9.0, None), (10.0, None), (11.0, 11.0)):
        of = letter(ticket(body, deadline=moment, not_before=moment, priority=1, lane="bg"))
        _, again = resubmission(of, replay_of(of, None, 10.0), body)
        assert (again.deadline, again.not_before, again.priority, again.lane) == (kept, kept, 1, "bg")


def test_what_is_no_job_cannot_be_replayed() -> None:
    of = letter(ticket(b"{}"))
    with pytest.raises(ContractError):
        resubmission(of, replay_of(of, None, 1.0), b"{}")
    bare = of.model_copy(update={"ticket": None})
    assert not bare.replayable
    with pytest.raises(ContractError, match="holds no job"):
        resubmission(bare, replay_of(bare, None, 1.0), b"{}")


def test_a_letter_stays_small_whatever_the_story() -> None:
    page = Failure(kind=K.SERVER_ERROR, message="<html>" * 400)
    story = tuple(failed(K.RATE_LIMIT, n).model_copy(update={"failure": page}) for n in range(500))
    kept = told(story)
    assert [record.number for record in kept] == list(range(500 - MAX_HISTORY, 500))
    of = letter(ticket(b"{}"), history=kept, failure=page)
    assert len(encode(of)) < 64 * 1024
    assert len(encode(summary(of, 1))) < 2_000


def test_what_waits_for_ever_leaves_a_letter_when_its_route_has_gone() -> None:
    waits = [kind for kind in K if PERMITS[kind].action is Action.WAIT]
    assert all(PERMITS[kind].letter for kind in waits)

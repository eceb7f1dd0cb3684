"""The errors: one tree, as its docstring draws it, that survives a process border; and how failures become them."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Result, Times
from producer_sdk import errors
from producer_sdk.answers import Answered
from producer_sdk.border import REFUSALS, answered, ended, refused
from producer_sdk.errors import (
    InvalidAnswer,
    InvalidRequest,
    JobCancelled,
    JobDead,
    JobExpired,
    JobFailed,
    NotFound,
    PenstockError,
    QueueFull,
    Refused,
    Timeout,
    Unreachable,
)


def result(state: JobState = JobState.FAILED, kind: FailureKind | None = FailureKind.STALLED) -> Result:
    failure = Failure(kind=kind, message="why", remedy="do this", deployment="p/m") if kind else None
    times = Times(submitted=0, finished=1)
    return Result(
        job="a-b",
        project="p",
        state=state,
        route="r",
        token="t",
        body_hash="h",
        nonce="n",
        failure=failure,
        times=times,
    )


def _classes() -> list[type[PenstockError]]:
    found = [thing for _, thing in inspect.getmembers(errors, inspect.isclass) if issubclass(thing, PenstockError)]
    return sorted(found, key=lambda kind: kind.__name__)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:│   |    )*)(?:├── |└── )?([A-Z]\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + (1 if "──" in line else 0)
        path[depth:] = [match[2]]
        if depth:
            drawn[match[2]] = path[depth - 1]
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in _classes() if kind is not PenstockError}
    assert drawn == real


def test_everything_public_is_in_all() -> None:
    assert sorted(errors.__all__) == [kind.__name__ for kind in _classes()]


def test_errors_are_what_python_programs_expect_as_well() -> None:
    pairs = [
        (InvalidRequest, ValueError),
        (Timeout, TimeoutError),
        (Unreachable, ConnectionError),
        (NotFound, LookupError),
    ]
    assert all(issubclass(kind, builtin) for kind, builtin in pairs)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("a: wrong", field="a", remedy="mend it", job="a-b"),
        QueueFull("full", retry_after=1.5, failure=Failure(kind=FailureKind.QUEUE_FULL, message="full")),
        JobExpired("too late", result=result(JobState.EXPIRED)),
        Unreachable("away", maybe_stored=True),
        Timeout("waiting", job="a-b"),
        InvalidAnswer("no JSON", text="hm", answer=Answered(result(JobState.SUCCEEDED, None))),
    ],
)
def test_an_error_survives_pickling(error: PenstockError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, again.__dict__) == (str(error), error.args, error.__dict__)


def test_the_words_hold_the_remedy() -> None:
    assert str(InvalidRequest("a: wrong", remedy="mend it")) == "a: wrong; mend it"
    assert str(PenstockError("wrong")) == "wrong"


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_of_a_job_has_its_error(kind: FailureKind) -> None:
    error = ended(result(JobState.FAILED, kind))
    expected = InvalidRequest if kind is FailureKind.INVALID_JOB else REFUSALS.get(kind, JobFailed)
    assert type(error) is expected
    assert error.job == "a-b"
    assert "why" in str(error)
    assert "do this" in str(error)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (JobState.FAILED, JobFailed),
        (JobState.CANCELLED, JobCancelled),
        (JobState.EXPIRED, JobExpired),
        (JobState.DEAD, JobDead),
    ],
)
def test_every_end_but_success_raises(state: JobState, error: type[JobFailed]) -> None:
    for kind in (FailureKind.STALLED, None):
        with pytest.raises(error) as caught:
            answered(result(state, kind))
        assert type(caught.value) is error
        assert caught.value.kind is kind


@pytest.mark.parametrize("kind", FailureKind)
def test_every_refusal_of_the_desk_has_its_error(kind: FailureKind) -> None:
    error = refused(Failure(kind=kind, message="no", retry_after=3))
    assert isinstance(error, InvalidRequest if kind is FailureKind.INVALID_JOB else Refused)
    if isinstance(error, Refused):
        assert error.failure is not None
        assert error.retry_after == 3


def test_a_full_queue_always_says_when_to_come_back() -> None:
    error = refused(Failure(kind=FailureKind.QUEUE_FULL, message="full"))
    assert isinstance(error, QueueFull)
    assert error.retry_after

"""Dead letters as operators see them: added up in parts, and without content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from job_contracts.codec import encode
from job_contracts.dead import (
    MAX_NAMES,
    Cause,
    OfProject,
    added,
    cause,
    cause_told,
    joined,
    ranked,
    without_content,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.letters import DeadLetter
from job_contracts.results import AttemptRecord

CANARY = "canary words of a prompt"
FAILED = Failure(kind=FailureKind.BAD_REQUEST, message=CANARY, field=CANARY, status=400, code="invalid_request")

_letters = st.builds(
    OfProject,
    project=st.sampled_from(["a", "b"]),
    job=st.sampled_from(["j-1", "j-2"]),
    seq=st.just(1),
    state=st.just("open"),
    reason=st.just("exhausted"),
    detail=st.sampled_from(["x", "y"]),
    fingerprint=st.sampled_from(["f", "g"]),
    at=st.floats(0, 1e9),
    route=st.sampled_from(["", "fast", "slow"]),
    deployment=st.none() | st.sampled_from(["p/m", "q/m"]),
    replayable=st.booleans(),
)


@given(st.lists(_letters, max_size=8), st.integers(0, 8))
def test_a_sum_is_the_same_however_it_is_parted(letters: list[OfProject], at: int) -> None:
    whole: dict[str, Cause] = {}
    parts: dict[str, Cause] = {}
    added(whole, map(cause, letters))
    for part in (letters[:at], letters[at:]):
        some: dict[str, Cause] = {}
        added(some, map(cause, part))
        added(parts, some.values())
    assert whole == parts
    assert sum(one.count for one in whole.values()) == len(letters)
    assert sum(one.replayable for one in whole.values()) == sum(one.replayable for one in letters)
    counts = [one.count for one in ranked(whole)]
    assert counts == sorted(counts, reverse=True)


def test_names_are_as_many_as_fit() -> None:
    found = cause(
        OfProject(project="p", job="j-1", seq=1, state="open", reason="poison", detail="", fingerprint="f", at=1)
    )
    for number in range(50):
        found = joined(found, found.model_copy(update={"routes": (f"r{number:02}",)}))
    assert (len(found.routes), found.routes[0]) == (MAX_NAMES, "r00")


def letter(failure: Failure | None) -> DeadLetter:
    attempt = AttemptRecord(
        number=1, deployment="p/m", provider="p", model="m", started=1.0, seconds=1.0, failure=failure
    )
    return DeadLetter(
        project="p",
        job="j-1",
        reason="exhausted",
        detail=CANARY,
        fingerprint="f",
        at=1.0,
        headers={"x": CANARY},
        body=CANARY,
        failure=Failure(kind=FailureKind.RETRIES_EXHAUSTED, message=CANARY),
        history=(attempt,),
    )


def test_nothing_that_a_client_wrote_or_a_provider_said_is_left() -> None:
    told = without_content(letter(FAILED))
    assert CANARY not in encode(told).decode()
    assert told.detail == "bad_request, status 400, code invalid_request"
    assert told.failure is not None
    assert told.failure.kind is FailureKind.RETRIES_EXHAUSTED


def test_a_code_that_looks_like_none_is_not_told() -> None:
    said = FAILED.model_copy(update={"code": CANARY, "status": None})
    assert cause_told(letter(said)) == "bad_request"
    assert CANARY not in encode(without_content(letter(said))).decode()


def test_a_message_that_is_no_job_is_told_by_what_is_wrong_with_it() -> None:
    unread = letter(None).model_copy(update={"failure": None, "history": (), "detail": "no ticket"})
    assert cause_told(unread) == "no ticket"

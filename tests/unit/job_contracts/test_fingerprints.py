"""The same cause has the same fingerprint, whatever the provider put into its message."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.failures import Failure, FailureKind
from job_contracts.fingerprints import LENGTH, of_failure, plain
from job_contracts.results import AttemptRecord

TELLINGS = (
    "request {} was refused",
    "Incorrect API key provided: {}. See {} for more",
    "no room on host {} (trace {}, after {} tries)",
    "{}",
)
letters_and_digits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
opaque = st.text(letters_and_digits, min_size=10, max_size=30).filter(
    lambda text: any(char.isdigit() for char in text) and any(char.isalpha() for char in text)
)
ids = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda made: made.hex),
    opaque,
    opaque.map(lambda text: f"req_{text}"),
    opaque.map(lambda text: f"org-{text}"),
    st.from_regex(r"[a-z0-9]{8,16}-[a-f0-9]{16}", fullmatch=True).filter(lambda text: any(c.isdigit() for c in text)),
)
numbers = st.one_of(
    st.integers(0, 10**15).map(str), st.floats(0, 1e6).map(lambda number: f"{number:.3f}"), st.just("1,250,000")
)
urls = st.builds("https://{}.example/{}?id={}".format, st.sampled_from(["api", "eu-1.api"]), opaque, st.integers(0, 99))


def record(failure: Failure | None, deployment: str = "alpha/m", number: int = 1) -> AttemptRecord:
    provider, _, model = deployment.partition("/")
    return AttemptRecord(
        number=number, deployment=deployment, provider=provider, model=model, started=0, seconds=1, failure=failure
    )


def given_up(last: Failure, route: str = "fast") -> str:
    words = f"given up after 5 attempts, as many as its route permits; the last failure was {last.kind.value}"
    ended = Failure(kind=FailureKind.RETRIES_EXHAUSTED, message=f"{words}: {last.message}")
    return of_failure(ended, (record(last),), route)


@pytest.mark.parametrize("values", [ids, numbers, urls], ids=["ids", "numbers", "urls"])
@pytest.mark.parametrize("telling", TELLINGS)
def test_what_names_one_request_does_not_matter(telling: str, values: st.SearchStrategy[str]) -> None:
    places = telling.count("{}")

    @given(st.tuples(*[values] * places), st.tuples(*[values] * places))
    def same(one: tuple[str, ...], other: tuple[str, ...]) -> None:
        told = [
            given_up(Failure(kind=FailureKind.AUTH, status=401, message=telling.format(*each))) for each in (one, other)
        ]
        assert told[0] == told[1], (plain(telling.format(*one)), plain(telling.format(*other)))

    same()


@given(st.text(max_size=600))
def test_any_message_has_a_fingerprint(message: str) -> None:
    found = of_failure(Failure(kind=FailureKind.INTERNAL, message=message), (), "fast")
    assert len(found) == LENGTH
    assert set(found) <= set("0123456789abcdef")
    assert len(plain(message)) <= 4 * 400 + 100


def test_another_kind_code_status_place_or_wording_is_another_cause() -> None:
    base: dict[str, object] = {"kind": FailureKind.AUTH, "message": "the key is not valid", "status": 401, "code": "a"}
    others: list[dict[str, object]] = [
        {"kind": FailureKind.PERMISSION},
        {"message": "the key has expired"},
        {"status": 403},
        {"code": "b"},
        {"deployment": "beta/m"},
    ]
    found = {given_up(Failure.model_validate(base | other)) for other in [{}, *others]}
    assert len(found) == 6


def test_the_words_about_giving_up_and_the_route_are_not_the_cause() -> None:
    last = Failure(kind=FailureKind.OVERLOADED, message="no capacity", status=529)
    retries = Failure(
        kind=FailureKind.RETRIES_EXHAUSTED, message="given up after 7 attempts, its project's retries used"
    )
    assert given_up(last) == of_failure(retries, (record(None, "beta/m"), record(last, number=2)), "another")


def test_ordinary_words_stay() -> None:
    assert plain("Rate limit reached for gpt-4o-mini in organization org-8fK3hd92Hs on 2026-11-28T18:41:39Z") == (
        "rate limit reached for <*> in organization <*> on <*>"
    )
    assert plain("The model `insufficient_quota` ran out; ServiceUnavailable") == (
        "the model `insufficient_quota` ran out; serviceunavailable"
    )
    assert plain(f"job {UUID(int=7)} at 10.0.0.7:443 took 3.5 s") == "job <*> at <*> took <*> s"

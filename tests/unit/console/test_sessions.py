"""Who is logged in, and for how long."""

from __future__ import annotations

from console import sessions
from console.people import Person
from console.sessions import Sessions
from runtime.settings.console import Console

ADMIN = Person("admin", "admin")


def test_a_session_is_found_by_its_token_alone() -> None:
    kept = Sessions(Console())
    token = kept.open(ADMIN, 0.0)
    found = kept.find(token, 1.0)
    assert found is not None
    assert found.person is ADMIN
    assert kept.find(token[:-1], 1.0) is None
    assert kept.find("", 1.0) is None
    assert token not in repr(vars(kept))


def test_a_session_ends_by_idleness_and_by_age() -> None:
    kept = Sessions(Console(idle=10, session=25))
    token = kept.open(ADMIN, 0.0)
    found = kept.find(token, 9.0)
    assert found is not None
    found.seen = 9.0
    assert kept.find(token, 18.0) is found
    found.seen = 18.0
    assert kept.find(token, 25.0) is None
    assert found.ended
    idle = kept.open(ADMIN, 30.0)
    assert kept.find(idle, 40.0) is None
    assert len(kept) == 0


def test_a_closed_session_is_over_for_who_holds_it() -> None:
    kept = Sessions(Console())
    token = kept.open(ADMIN, 0.0)
    found = kept.find(token, 0.0)
    assert found is not None
    kept.close(found)
    assert kept.find(token, 0.0) is None
    assert not kept.lasts(found, 0.0)


def test_sessions_are_bounded_and_the_idlest_goes_first() -> None:
    kept = Sessions(Console())
    first = kept.open(ADMIN, 0.0)
    for number in range(sessions.MOST):
        kept.open(ADMIN, 1.0 + number / 10_000)
    assert len(kept) == sessions.MOST
    assert kept.find(first, 2.0) is None


def test_a_forms_word_is_the_sessions_own() -> None:
    kept = Sessions(Console())
    one, other = (kept.find(kept.open(ADMIN, 0.0), 0.0) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.wrote(one.forms)
    assert not one.wrote(other.forms)
    assert not one.wrote("")
    assert not one.wrote("é")

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


def _key(project: str, number: int = 0) -> Person:
    return Person(f"{project}/{number:012x}", "viewer", project, f"{number:012x}")


def test_many_logins_with_one_key_end_the_oldest_with_that_key_and_nobody_elses() -> None:
    kept = Sessions(Console())
    others = [kept.open(one, 0.0) for one in (ADMIN, Person("anna", "operator"), _key("mine", 1), _key("other"))]
    opened = [kept.open(_key("mine"), 1.0 + number / 10_000) for number in range(1_001)]
    assert all(kept.find(token, 2.0) for token in others)
    assert [token for token in opened if kept.find(token, 2.0)] == opened[-sessions.EACH :]
    assert len(kept) == len(others) + sessions.EACH


def test_many_keys_of_one_project_end_the_oldest_of_that_project_and_nobody_elses() -> None:
    kept = Sessions(Console())
    others = [kept.open(one, 0.0) for one in (ADMIN, Person("anna", "operator"), _key("other"))]
    opened = [kept.open(_key("mine", number), 1.0 + number / 10_000) for number in range(1_001)]
    assert all(kept.find(token, 2.0) for token in others)
    assert [token for token in opened if kept.find(token, 2.0)] == opened[-sessions.SHARED :]
    assert len(kept) == len(others) + sessions.SHARED


def test_where_all_together_have_too_many_the_oldest_of_whoever_has_the_most_goes() -> None:
    kept = Sessions(Console())
    watching = kept.open(ADMIN, 0.0)
    found = kept.find(watching, 0.0)
    projects = 1 + sessions.MOST // sessions.SHARED
    opened = [
        [kept.open(_key(f"p{project}", number), 1.0 + number / 1_000) for number in range(sessions.SHARED)]
        for project in range(projects)
    ]
    assert len(kept) == sessions.MOST
    assert kept.find(watching, 2.0) is found
    left = [sum(kept.find(token, 2.0) is not None for token in each) for each in opened]
    assert sum(left) == sessions.MOST - 1
    assert max(left) - min(left) <= 10
    assert all(kept.find(each[-1], 2.0) for each in opened)


def test_one_that_is_ended_by_another_is_over_for_who_looks_at_a_page_of_it() -> None:
    kept = Sessions(Console())
    first = kept.find(kept.open(ADMIN, 0.0), 0.0)
    assert first is not None
    for _ in range(sessions.EACH):
        kept.open(ADMIN, 1.0)
    assert not kept.lasts(first, 1.0)


def test_a_forms_word_is_the_sessions_own() -> None:
    kept = Sessions(Console())
    one, other = (kept.find(kept.open(ADMIN, 0.0), 0.0) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.wrote(one.forms)
    assert not one.wrote(other.forms)
    assert not one.wrote("")
    assert not one.wrote("é")

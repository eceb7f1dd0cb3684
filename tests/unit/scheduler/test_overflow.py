"""The index never holds more than it may, nobody is shut out by another, and nothing unread is taken for read."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.entries import Entries, Entry
from scheduler.overflow import Overflow
from scheduler.submissions import Submissions

PROJECTS = ("p", "q", "r")
MOST, PART = 24, 4


def entry(seq: int) -> Entry:
    return Entry(seq, token="t", body_hash="h", submitted=0.0, deadline=None, stream=False, blob=None, unsure=False)


def filled(project: str, count: int) -> tuple[Entries, Overflow]:
    """An index into which one project's jobs were read, as far as they have a place."""
    entries = Entries()
    overflow = Overflow(entries, MOST, PROJECTS)
    for seq in range(1, count + 1):
        if not overflow.leaves(project, seq, most=1_000):
            entries[project, f"a-{seq}"] = entry(seq)
    return entries, overflow


def test_one_project_alone_gets_half_of_the_places() -> None:
    entries, overflow = filled("p", 100)
    assert len(entries) == MOST // 2
    assert overflow.count("p") == 100 - MOST // 2
    assert overflow.floor == MOST // 2 + 1


def test_the_others_have_a_part_each_whatever_one_of_them_has() -> None:
    entries, overflow = filled("p", 100)
    for seq in range(101, 101 + PART):
        assert not overflow.leaves("q", seq, most=1_000)
        entries["q", f"a-{seq}"] = entry(seq)
    assert overflow.leaves("q", 200, most=1_000)
    assert not overflow.leaves("r", 201, most=1_000)


def test_who_comes_after_an_unread_one_of_its_project_stays_unread() -> None:
    entries, overflow = filled("p", 13)
    del entries["p", "a-1"]
    assert overflow.room("p") == 1
    assert overflow.leaves("p", 14, most=1_000)


def test_a_project_that_nobody_configured_is_read_to_be_refused() -> None:
    _, overflow = filled("p", 100)
    assert not overflow.leaves("unheard-of", 101, most=1_000)


def test_what_a_project_may_not_have_is_read_to_be_refused() -> None:
    _, overflow = filled("p", 100)
    assert not overflow.leaves("p", 101, most=100)
    assert overflow.leaves("p", 102, most=101)


def test_who_takes_over_counts_what_is_stored_and_not_what_was_once() -> None:
    _, overflow = filled("p", 100)
    before = overflow.total
    assert before > 3
    overflow.recount(before + 5)
    assert overflow.total == before
    overflow.recount(3)
    assert overflow.total == 3


def test_a_project_is_read_in_when_there_is_room_for_a_run() -> None:
    entries, overflow = filled("p", 100)
    assert overflow.wanting() == []
    del entries["p", "a-1"]
    assert overflow.wanting() == []
    del entries["p", "a-2"]
    assert overflow.wanting() == ["p"]


class Reading(RuleBasedStateMachine):
    """Submissions that come, are read in, asked for and end in any order, beside a plain list of what is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.submissions = Submissions()
        self.overflow = Overflow(self.submissions.entries, MOST, PROJECTS)
        self.submissions.floor = lambda: self.overflow.floor
        self.stored: dict[int, str] = {}
        self.top = 0
        self.results = 0
        self.asked_for: set[tuple[str, str]] = set()

    def index(self, project: str, seq: int) -> None:
        key = (project, f"a-{seq}")
        if self.submissions.finished(key):
            self.submissions.skip(seq, 0.0, key)
        else:
            self.submissions.add(key, entry(seq))

    def unread(self, project: str) -> list[int]:
        known = self.submissions.entries
        return [
            seq
            for seq, its in self.stored.items()
            if its == project and (its, f"a-{seq}") not in known and self.overflow.holds(its, seq)
        ]

    @rule(project=st.sampled_from(PROJECTS), count=st.integers(1, 12))
    def some_are_submitted(self, project: str, count: int) -> None:
        for _ in range(count):
            self.top += 1
            self.stored[self.top] = project
            if not self.overflow.leaves(project, self.top, most=1_000):
                self.index(project, self.top)

    @precondition(lambda self: len(self.submissions.entries) > 0)
    @rule(data=st.data())
    def one_ends(self, data: st.DataObject) -> None:
        self.results += 1
        self.submissions.settle(data.draw(st.sampled_from(sorted(self.submissions.entries))), self.results, 0.0)

    @rule()
    def there_is_room(self) -> None:
        for project in self.overflow.wanting():
            for seq in self.unread(project)[: self.overflow.room(project)]:
                self.index(project, seq)
                self.overflow.indexed(project)
                self.overflow.advance(project, seq)
            left = self.overflow.projects.get(project)
            if left is not None and not self.unread(project):
                self.overflow.advance(project, left.last)

    @precondition(lambda self: any(self.unread(project) for project in PROJECTS))
    @rule(data=st.data())
    def an_unread_one_is_asked_for(self, data: st.DataObject) -> None:
        every = [(project, seq) for project in PROJECTS for seq in self.unread(project)]
        project, seq = data.draw(st.sampled_from(every))
        self.index(project, seq)
        self.overflow.indexed(project)
        self.asked_for.add((project, f"a-{seq}"))

    @rule()
    def what_is_settled_is_removed(self) -> None:
        below = self.submissions.removable_below()
        gone = [seq for seq in self.stored if seq < below]
        if below:
            self.submissions.purged(below)
        for seq in self.submissions.stragglers(10.0, older=2.0, most=5):
            gone.append(seq)
            self.submissions.deleted(seq)
        for seq in gone:
            project = self.stored.pop(seq, None)
            if project is not None:
                assert (project, f"a-{seq}") not in self.submissions.entries, "an unfinished job was removed"
                assert self.submissions.finished((project, f"a-{seq}")), "an unread job was removed"

    @invariant()
    def there_are_no_more_entries_than_places_but_for_those_asked_for(self) -> None:
        assert len(set(self.submissions.entries) - self.asked_for) <= MOST

    @invariant()
    def whatever_is_stored_and_not_ended_is_known_or_unread(self) -> None:
        for seq, project in self.stored.items():
            key = (project, f"a-{seq}")
            known = key in self.submissions.entries or self.submissions.finished(key)
            assert known or self.overflow.holds(project, seq)


TestReading = Reading.TestCase

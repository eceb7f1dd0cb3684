"""The bookkeeping of finished submissions: nothing needed is removed, and the cursor never runs ahead of removals."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.submissions import MARKED, REMEMBER, Entry, Submissions


def entry(seq: int) -> Entry:
    return Entry(seq, token="t", body_hash="h", submitted=0.0, deadline=None, stream=False, blob=None, unsure=False)


class Removal(RuleBasedStateMachine):
    """A stream of submissions beside a plain set of what is stored, driven in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.submissions = Submissions()
        self.stored: set[int] = set()
        self.running: dict[tuple[str, str], int] = {}
        self.results: dict[int, int] = {}
        """RES sequence -> SUBMIT sequence."""
        self.top = 0
        self.now = 0.0
        self.unread: dict[tuple[str, str], int] = {}
        """Submissions that an earlier term left, and this one has not read yet."""

    @initialize(left=st.lists(st.booleans(), max_size=5))
    def a_term_begins(self, left: list[bool]) -> None:
        """With the submissions of an earlier one, some of them settled by results that come above its cursor."""
        self.submissions.begin(0)
        for finished in left:
            self.top += 1
            key = ("p", f"a-{self.top}")
            self.stored.add(self.top)
            self.unread[key] = self.top
            if finished:
                result = len(self.results) + 1
                self.results[result] = self.top
                self.submissions.settle(key, result, self.now)
        self.the_cursor_never_passes_a_result_whose_submission_is_stored()
        for key, seq in self.unread.items():
            if self.submissions.finished(key):
                self.submissions.skip(seq, self.now, key)
            else:
                self.running[key] = seq
                self.submissions.add(key, entry(seq))
            self.the_cursor_never_passes_a_result_whose_submission_is_stored()
        self.submissions.all_read()

    @rule(gap=st.integers(1, 3))
    def a_job_is_submitted(self, gap: int) -> None:
        self.top += gap
        key = ("p", f"a-{self.top}")
        self.stored.add(self.top)
        self.running[key] = self.top
        self.submissions.add(key, entry(self.top))

    @rule()
    def a_useless_message_is_read(self) -> None:
        self.top += 1
        self.stored.add(self.top)
        self.submissions.skip(self.top, self.now)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_job_is_settled(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        result = len(self.results) + 1
        self.results[result] = self.running.pop(key)
        self.submissions.settle(key, result, self.now)

    @rule(confirmed=st.booleans())
    def the_settled_prefix_is_purged(self, confirmed: bool) -> None:
        below = self.submissions.removable_below()
        if below and confirmed:
            assert not {seq for seq in self.running.values() if seq < below}, "an unfinished job would be removed"
            self.stored = {seq for seq in self.stored if seq >= below}
            self.submissions.purged(below)

    @rule(wait=st.floats(0, 5))
    def stragglers_are_deleted(self, wait: float) -> None:
        self.now += wait
        for seq in self.submissions.stragglers(self.now, older=2.0, most=3):
            assert seq not in self.running.values()
            self.stored.discard(seq)
            self.submissions.deleted(seq)

    @invariant()
    def the_cursor_never_passes_a_result_whose_submission_is_stored(self) -> None:
        cursor = self.submissions.settled_cursor()
        assert all(seq not in self.stored for result, seq in self.results.items() if result <= cursor)

    @invariant()
    def every_running_job_is_still_known(self) -> None:
        assert set(self.submissions.entries) == set(self.running)

    def teardown(self) -> None:
        for key, seq in sorted(self.running.items()):
            self.results[len(self.results) + 1] = seq
            self.submissions.settle(key, len(self.results), self.now)
        self.submissions.gaps.begin()  # whatever was passed over has been looked into
        below = self.submissions.removable_below()
        if below:
            self.submissions.purged(below)
        assert self.submissions.settled_cursor() == len(self.results), "all is removed, yet the cursor lags for ever"


TestRemoval = Removal.TestCase


def test_a_standby_forgets_what_its_leader_has_removed_and_removes_the_rest_itself() -> None:
    submissions = Submissions()
    submissions.begin(0)
    for seq in range(1, 11):
        submissions.add(("p", f"a-{seq}"), entry(seq))
    for result, seq in enumerate((1, 2, 3, 6, 8), start=1):
        submissions.settle(("p", f"a-{seq}"), result, 0.0)
    assert submissions.follow(settled=4, first=3) == [3, 6]
    assert submissions.settled_cursor() == 4, "a standby's cursor is its leader's"
    submissions.all_read()
    assert submissions.settled_cursor() == 4
    assert submissions.removable_below() == 4
    submissions.purged(4)
    assert submissions.stragglers(10.0, older=2.0, most=9) == [8], "the leader has removed 6"
    submissions.deleted(8)
    assert submissions.settled_cursor() == 5


def test_what_ends_above_a_job_that_waits_for_days_is_forgotten() -> None:
    submissions = Submissions()
    for seq in range(1, 3 * MARKED):
        submissions.add(("p", f"a-{seq}"), entry(seq))
    for seq in range(2, 3 * MARKED):
        submissions.settle(("p", f"a-{seq}"), seq, 0.0)
        submissions.deleted(seq)
    assert submissions.stored == 1
    assert len(submissions._order) <= MARKED + 1
    assert submissions.settled_cursor() == 3 * MARKED - 1
    assert submissions.removable_below() == 0, "the one that waits"
    submissions.settle(("p", "a-1"), 3 * MARKED, 0.0)
    assert submissions.removable_below() == 3 * MARKED


def test_what_is_held_is_not_removed_before_it_is_done_with() -> None:
    submissions = Submissions()
    submissions.hold(1)
    submissions.add(("p", "a-2"), entry(2))
    submissions.settle(("p", "a-2"), 1, 0.0)
    assert submissions.removable_below() == 0
    submissions.done(1, 0.0)
    assert submissions.removable_below() == 3


def test_a_submission_that_was_missed_and_is_read_later_keeps_its_place() -> None:
    submissions = Submissions()
    submissions.add(("p", "a-5"), entry(5))
    submissions.add(("p", "a-3"), entry(3))
    submissions.settle(("p", "a-5"), 1, 0.0)
    assert submissions.removable_below() == 3, "only what lies below the missed one may go"


def test_a_settled_job_is_remembered_as_long_as_a_producer_may_retry_and_then_forgotten() -> None:
    submissions = Submissions()
    submissions.settle(("p", "a-1"), 1, 0.0)
    assert submissions.finished(("p", "a-1"))
    submissions.settle(("p", "a-2"), 2, REMEMBER - 1)
    assert submissions.finished(("p", "a-1"))
    submissions.settle(("p", "a-3"), 3, REMEMBER + 1)
    assert not submissions.finished(("p", "a-1"))
    assert submissions.finished(("p", "a-3"))


def test_nothing_is_purged_beyond_a_submission_that_was_passed_over() -> None:
    submissions = Submissions()
    submissions.add(("p", "a-1"), entry(1))
    submissions.all_read()
    submissions.add(("p", "a-2"), entry(2))
    submissions.add(("p", "a-4"), entry(4))
    for number, job in enumerate(("a-1", "a-2", "a-4"), 1):
        submissions.settle(("p", job), number, 0.0)
    assert submissions.removable_below() == 3
    submissions.add(("p", "a-3"), entry(3))
    submissions.gaps.ranges.clear()
    assert submissions.removable_below() == 3
    submissions.settle(("p", "a-3"), 4, 0.0)
    assert submissions.removable_below() == 5

"""When silence is long enough to succeed a leader (rule R5)."""

from __future__ import annotations

from scheduler.silence import GRACE, MAX_GAP, Silence

LEASE = 8.0
STEP = 0.25


def watched(silence: Silence, seq: int, start: float, until: float) -> float:
    """Look every quarter of a second; returns the time of the first look after which the owner may be succeeded."""
    now = start
    while now <= until:
        silence.note(seq, now, now)
        if silence.over:
            return now
        now += STEP
    return -1.0


def test_an_owner_that_renews_is_never_succeeded() -> None:
    silence = Silence(LEASE)
    for seq in range(100):
        assert watched(silence, seq, seq * 2.0, seq * 2.0 + 1.75) == -1.0


def test_a_silent_owner_is_succeeded_after_the_lease() -> None:
    assert watched(Silence(LEASE), 7, 100.0, 120.0) == 100.0 + LEASE


def test_time_in_which_nobody_looked_does_not_count() -> None:
    silence = Silence(LEASE)
    assert watched(silence, 7, 0.0, 4.0) == -1.0
    assert watched(silence, 7, 4.0 + MAX_GAP + 0.1, 100.0) == 4.0 + MAX_GAP + 0.1 + LEASE


def test_after_an_outage_in_which_the_record_did_not_move_a_short_grace_is_enough() -> None:
    silence = Silence(LEASE)
    assert watched(silence, 7, 0.0, 2.0) == -1.0
    assert watched(silence, 7, 8.0, 100.0) == 8.0 + GRACE


def test_after_an_outage_in_which_the_record_moved_the_owner_lives_and_has_its_whole_lease() -> None:
    silence = Silence(LEASE)
    assert watched(silence, 7, 0.0, 2.0) == -1.0
    assert watched(silence, 8, 8.0, 100.0) == 8.0 + LEASE


def test_a_renewal_within_the_grace_gives_the_owner_its_lease_again() -> None:
    silence = Silence(LEASE)
    assert watched(silence, 7, 0.0, 2.0) == -1.0
    assert watched(silence, 7, 8.0, 9.5) == -1.0
    assert watched(silence, 8, 9.75, 100.0) == 9.75 + LEASE


def test_the_first_look_is_no_outage() -> None:
    assert watched(Silence(LEASE), 7, 1e6, 1e6 + 100) == 1e6 + LEASE

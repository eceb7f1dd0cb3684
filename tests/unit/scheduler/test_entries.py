"""What is kept of a submission must come back as it was, however small it was kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.jobs import BlobRef
from job_contracts.tracing import Trace
from scheduler.entries import Entries, Entry

TEXTS = st.text(max_size=80)
TIMES = st.floats(0, 4e9)


IDS = st.binary(min_size=8, max_size=8).map(bytes.hex)
ENTRIES = st.builds(
    Entry,
    seq=st.integers(1, 2**63),
    token=TEXTS,
    body_hash=TEXTS,
    submitted=TIMES,
    deadline=st.none() | TIMES,
    stream=st.booleans(),
    unsure=st.booleans(),
    blob=st.none() | st.just(BlobRef(size=3, chunks=1, sha256="d" * 64)),
    outcome_seq=st.integers(0, 9),
    trace=st.none()
    | st.builds(
        Trace,
        IDS.map(lambda id_: id_ * 2),
        st.just("") | IDS,
        sampled=st.booleans(),
        state=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=512),
    ),
)


@given(ENTRIES)
def test_an_entry_comes_back_as_it_was_kept(entry: Entry) -> None:
    entries = Entries()
    entries["p", "a-1"] = entry
    assert entries.seq(("p", "a-1")) == entry.seq
    assert entries["p", "a-1"] == entry
    assert entries.seq(("p", "a-1")) == entry.seq


def waiting(seq: int = 7) -> Entry:
    return Entry(seq, "token", "hash", 1.0, None, stream=False, blob=None, unsure=True)


def test_a_change_to_an_entry_stays() -> None:
    entries = Entries()
    entries["p", "a-1"] = waiting()
    entries["p", "a-1"].unsure = False
    entries["p", "a-1"].outcome_seq = 9
    assert not entries["p", "a-1"].unsure
    assert entries["p", "a-1"].outcome_seq == 9


def test_projects_may_use_the_same_job_id() -> None:
    entries = Entries()
    entries["p", "a-1"], entries["q", "a-1"] = waiting(1), waiting(2)
    assert (entries["p", "a-1"].seq, entries["q", "a-1"].seq) == (1, 2)
    assert sorted(entries) == [("p", "a-1"), ("q", "a-1")]
    assert entries.pop(("p", "a-1")).seq == 1
    assert ("p", "a-1") not in entries
    assert ("q", "a-1") in entries
    assert (len(entries), entries.of("p"), entries.of("q")) == (1, 0, 1)


def test_an_entry_that_is_put_twice_counts_once() -> None:
    entries = Entries()
    entries["p", "a-1"] = waiting(1)
    entries["p", "a-1"] = waiting(2)
    assert len(entries) == 1
    assert entries["p", "a-1"].seq == 2


def test_who_is_not_known_is_not_there() -> None:
    entries = Entries()
    entries["p", "a-1"] = waiting()
    assert entries.get(("p", "a-2")) is None
    assert entries.get(("q", "a-1")) is None
    with pytest.raises(KeyError):
        del entries["q", "a-1"]

"""The prompt caches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.prefixes import BLOCK_CHARACTERS, BLOCK_TOKENS, PrefixCache

LONG = "".join(f"{number:07d} " for number in range(1_000))  # 8,000 characters, 2,000 tokens


def cache() -> PrefixCache:
    return PrefixCache(minimum=1_024, seconds=300.0)


def test_a_short_prompt_is_never_cached() -> None:
    one = cache()
    for now in (0.0, 1.0):
        found = one.blocks("k", ["short"], 10, now)
        one.remember(found, now)
        assert (found.read, found.entries) == (0, ())


def test_a_long_prompt_that_comes_again_is_read_in_whole_blocks() -> None:
    one = cache()
    first = one.blocks("k", [LONG], 2_000, 0.0)
    assert first.read == 0
    assert one.blocks("k", [LONG], 2_000, 0.5).read == 0, "looking a prompt up does not cache it"
    one.remember(first, 1.0)
    assert one.blocks("k", [LONG], 2_000, 2.0).read == len(LONG) // BLOCK_CHARACTERS * BLOCK_TOKENS == 1_920
    assert one.blocks("other", [LONG], 2_000, 2.0).read == 0
    assert one.blocks("k", [LONG], 2_000, 302.0).read == 0


@given(st.integers(0, len(LONG) - 1))
def test_only_the_common_prefix_is_read(at: int) -> None:
    one = cache()
    one.remember(one.blocks("k", [LONG], 2_000, 0.0), 0.0)
    changed = f"{LONG[:at]}#{LONG[at + 1 :]}"
    read = one.blocks("k", [changed], 2_000, 1.0).read
    common = at // BLOCK_CHARACTERS * BLOCK_TOKENS
    assert read == (min(common, 1_920) if common >= 1_024 else 0)


def test_a_marked_prefix_is_written_once_and_then_read() -> None:
    one = cache()
    first = one.marked("k", [LONG, "question"], [1], 0.0)
    assert (first.read, first.written) == (0, 2_000)
    one.remember(first, 0.0)
    again = one.marked("k", [LONG, "another question"], [1], 1.0)
    assert (again.read, again.written) == (2_000, 0)


def test_a_longer_conversation_reads_what_an_earlier_turn_wrote_and_writes_the_rest() -> None:
    one = cache()
    one.remember(one.marked("k", [LONG, "question"], [2], 0.0), 0.0)
    later = one.marked("k", [LONG, "question", "answer!!", "question"], [4], 1.0)
    assert (later.read, later.written) == (2_002, 4)


def test_a_mark_on_a_prefix_that_is_too_short_does_nothing() -> None:
    assert cache().marked("k", ["short", LONG], [1], 0.0).written == 0
    assert cache().marked("k", ["short", LONG], [], 0.0).written == 0


def test_a_cleared_cache_knows_nothing() -> None:
    one = cache()
    one.remember(one.blocks("k", [LONG], 2_000, 0.0), 0.0)
    one.clear()
    assert one.blocks("k", [LONG], 2_000, 1.0).read == 0

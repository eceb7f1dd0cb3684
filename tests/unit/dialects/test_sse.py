from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.dialects.sse import Events, EventTooLarge

WHOLE = b"\xef\xbb\xbf: hello\nevent: first\ndata: one\ndata:two\nid: 7\n\n\n\nretry: 10\ndata\n\ndata:  spaced\n\n"
EVENTS = [("first", b"one\ntwo"), ("", b""), ("", b" spaced")]


def parsed(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    events = Events()
    return [event for piece in pieces for event in events.feed(piece)] + events.flush()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_wherever_the_bytes_are_cut(end: bytes) -> None:
    body = WHOLE.replace(b"\n", end)
    assert parsed([body]) == EVENTS
    assert parsed([body[at : at + 1] for at in range(len(body))]) == EVENTS
    for at in range(len(body)):
        assert parsed([body[:at], body[at:]]) == EVENTS


@given(
    lines=st.lists(st.sampled_from([b"data: x", b"data:", b"event: e", b": c", b"", b"", b"other", b"data: \xc3\xa9"])),
    ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=1),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_mixed_line_ends_and_any_cuts_change_nothing(lines: list[bytes], ends: list[bytes], cuts: list[int]) -> None:
    body = b"".join(line + ends[at % len(ends)] for at, line in enumerate(lines))
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    joined = b"\n".join(lines) + (b"\n" if lines else b"")
    if b"\r" not in b"".join(ends) or not _ambiguous(lines, ends):
        assert parsed(pieces) == parsed([joined])
    assert parsed(pieces) == parsed([body])


def test_a_carriage_return_before_a_pair_is_an_end_of_its_own() -> None:
    body = b"data: x\r\r\ndata: y\r\r\n"
    assert parsed([body]) == [("", b"x"), ("", b"y")]
    assert parsed([body[:8], body[8:]]) == [("", b"x"), ("", b"y")]


def _ambiguous(lines: list[bytes], ends: list[bytes]) -> bool:
    """A CR followed by an empty line that ends with LF is one CRLF."""
    used = [ends[at % len(ends)] for at in range(len(lines))]
    return any(
        first == b"\r" and second == b"\n" and not line
        for first, second, line in zip(used, used[1:], lines[1:], strict=False)
    )


def test_an_event_the_end_of_the_body_left_open_is_given_out() -> None:
    assert parsed([b"data: one\n\ndata: last"]) == [("", b"one"), ("", b"last")]
    assert parsed([b"data: one\n\nevent: empty"]) == [("", b"one")]


def test_a_name_belongs_to_its_own_event_only() -> None:
    assert parsed([b"event: a\n\ndata: x\n\n"]) == [("", b"x")]


def test_a_gigantic_line_is_refused_however_it_comes() -> None:
    with pytest.raises(EventTooLarge):
        Events(max_event=1000).feed(b"data: " + b"x" * 2000 + b"\n\n")
    events = Events(max_event=1000)
    with pytest.raises(EventTooLarge):
        for _ in range(2000):
            events.feed(b"x")


def test_many_lines_of_one_event_are_bounded_together() -> None:
    events = Events(max_event=1000)
    with pytest.raises(EventTooLarge):
        for _ in range(200):
            events.feed(b"data: 0123456789\n")


def test_a_long_line_in_small_pieces_costs_no_more_than_its_length() -> None:
    events = Events()
    for _ in range(200_000):
        assert not events.feed(b"0123456")
    assert events.feed(b"\n\n") == []

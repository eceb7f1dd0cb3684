"""Signs of life in a stream of server-sent events are read over by every client."""

from __future__ import annotations

from gateway.sse import PING


def test_a_sign_of_life_is_a_comment_and_ends_no_event() -> None:
    assert PING.startswith(b":")
    assert PING.endswith(b"\n")
    assert PING.count(b"\n") == 1

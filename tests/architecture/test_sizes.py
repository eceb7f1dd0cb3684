"""A room, a noun: no file and no function outgrows its limit unseen."""

from __future__ import annotations

from collections.abc import Callable

from tests.architecture.sizes import LONGER_FOR_A_REASON, TAIL, sizes, tail


def test_no_file_and_no_function_is_beyond_its_limit_without_a_reason(
    record_property: Callable[[str, object], None],
) -> None:
    record_property(TAIL, [(size.place, size.lines) for size in tail()])
    beyond = [
        f"{size.place}: {size.lines} lines, limit {size.limit}"
        for size in sizes()
        if size.lines > size.limit and size.place not in LONGER_FOR_A_REASON
    ]
    assert not beyond, "\n".join(beyond)


def test_every_reason_for_a_long_one_is_still_needed() -> None:
    long = {size.place for size in sizes() if size.lines > size.limit}
    assert set(LONGER_FOR_A_REASON) <= long

"""Wait for a condition instead of for a time: the only way tests wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar, overload

T = TypeVar("T")
Says: TypeAlias = str | Callable[[], object]

LONGEST_INTERVAL = 0.25
"""Seconds between two looks at most: the interval doubles up to here, and a slow condition costs little."""
LAST = 0.5
"""Seconds that a look may take at least, the last one too."""


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]],
    *,
    within: float = ...,
    every: float = ...,
    says: Says = ...,
) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], *, within: float = ..., every: float = ..., says: Says = ...) -> T: ...
async def eventually(
    predicate: Callable[[], Any],
    *,
    within: float = 5.0,
    every: float = 0.01,
    says: Says = "",
) -> Any:
    """Call ``predicate`` (plain or async) until it returns something true, and return that.

    An ``AssertionError`` of the predicate counts as "not yet" and becomes the cause of the failure; any other exception
    is raised at once. ``within`` and ``every`` are seconds. ``says`` adds words, or a look at the state at the end, to
    the ``AssertionError`` that is raised when the time is up; a predicate that hangs is cancelled then as well.

    Only what this process was let run counts: by how much longer it slept than it wished, the time is longer, and the
    last look begins when the time is up. What a pause has left unread is read before it can be missed.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    looks, last, cause = 0, "nothing: it was still running", None
    while True:
        looks += 1
        began = loop.time()
        try:
            value = await _look(predicate, max(end - began, LAST))
        except _StillRunning:
            last, cause = "nothing: it was still running", None
        except AssertionError as error:
            last, cause = f"a failed assertion: {error}", error
        else:
            if value:
                return value
            last, cause = repr(value), None
        if began >= end:
            break
        now = loop.time()
        pause = max(0.0, min(every * 2 ** min(looks - 1, 16), LONGEST_INTERVAL, end - now))
        await asyncio.sleep(pause)
        end += max(0.0, loop.time() - now - pause)
    raise AssertionError(_message(predicate, within, looks, last, says)) from cause


class _StillRunning(Exception):
    """The predicate did not answer in the time left."""


async def _look(predicate: Callable[[], Any], left: float) -> Any:
    answer = predicate()
    if not inspect.isawaitable(answer):
        return answer
    task = asyncio.ensure_future(answer)
    done, _ = await asyncio.wait({task}, timeout=left)
    if done:
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=1.0)
    raise _StillRunning


def _message(predicate: Callable[[], Any], within: float, looks: int, last: str, says: Says) -> str:
    words = says() if callable(says) else says
    try:
        source = inspect.getsource(predicate).strip()
    except (OSError, TypeError):
        source = repr(predicate)
    shown = last if len(last) <= 2_000 else f"{last[:2_000]}… ({len(last)} characters)"
    return f"{f'{words}: ' if words else ''}not true within {within} s ({looks} looks); last: {shown}\n  {source}"

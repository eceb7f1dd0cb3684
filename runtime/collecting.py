"""Keeps the garbage collector from walking through a million waiting jobs again and again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

SMALL = 100_000
"""Objects up to which a full collection looks at everything; that takes some ten milliseconds."""


def spare_survivors(*, small: int = SMALL) -> Callable[[], None]:
    """From now on what survives a full collection is set aside, and later ones look only at what came since.

    Python's full collections stop the process for as long as it takes to visit every object that can be part of a
    cycle: seconds, with a million jobs, which is longer than a leader may be silent. What waits in a queue is in no
    cycle, and counting references frees it all the same. Only a cycle that dies after it was set aside is kept; while
    few objects are set aside they are all looked at again, so a process without a backlog keeps nothing.

    Returns what undoes it.
    """

    def collecting(phase: str, details: Mapping[str, int]) -> None:
        if details["generation"] < 2:
            return
        if phase == "stop":
            gc.freeze()
        elif gc.get_freeze_count() <= small:
            gc.unfreeze()

    gc.callbacks.append(collecting)

    def stop() -> None:
        if collecting in gc.callbacks:
            gc.callbacks.remove(collecting)
            gc.unfreeze()

    return stop


def set_aside() -> None:
    """What is there now is not looked at again: for a process that has been put together and keeps that until it ends.

    A full collection would stop it for a tenth of a second, each time to find the same modules and tables.
    """
    gc.collect()
    gc.freeze()

"""What holds for every test."""

from __future__ import annotations

import gc
import signal

import pytest
from hypothesis import settings

# A busy machine is not a failed property; pytest's own timeout bounds a test that hangs. The same examples every time:
# what one change is refused for is in that change. The long run searches, with others each time.
settings.register_profile("penstock", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("long", settings.get_profile("penstock"), max_examples=10_000, derandomize=False)
settings.load_profile("penstock")

# Fixtures that start a real broker (`broker`, `own_broker`, `open_bus`), or a database (`postgres`, `database`).
pytest_plugins = ["tests.support.broker", "tests.support.buses", "tests.support.databases"]

FIRST = ("e2e", "integration", "conformance", "unit")
"""Folders of tests in the order in which they run: what waits for processes begins early, beside what computes."""


def pytest_configure() -> None:
    """A shell starts what it runs in the background with Ctrl-C ignored, and every process of a test would inherit it:
    none would be interrupted, however long one waits.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.nodeid.split("/", 2)[1]
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no collection of garbage needs to look through it again."""
    gc.collect()
    gc.freeze()

"""A batch whose results are copied while they come: what the gateway says between two looks may be over already."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import pytest

from producer_sdk.cli import follow as following
from producer_sdk.cli.follow import Kept, follow
from producer_sdk.cli.transfers import Gateway
from producer_sdk.errors import NotFound


class Told:
    """A gateway that says these things of a batch, one after the other, and has no file."""

    def __init__(self, *looks: tuple[str, str | None]) -> None:
        self._looks = iter(looks)
        self.asked = 0

    def ask(self, *_: object, **__: object) -> dict[str, Any]:
        status, output = next(self._looks)
        return {"status": status, "output_file_id": output}

    def content(self, *_: object) -> Iterator[bytes]:
        self.asked += 1
        raise NotFound("No such File object")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "rest", lambda _: None)


def test_a_file_that_is_gone_because_the_batch_is_refused_meanwhile_is_no_error() -> None:
    told = Told(("validating", "file-1"), ("failed", None))
    batch = follow(cast("Gateway", told), Kept(None), io.BytesIO(), lambda _: None)
    assert (batch["status"], told.asked) == ("failed", 1)


def test_results_that_somebody_has_removed_are_told() -> None:
    told = Told(("in_progress", "file-1"), ("completed", "file-1"))
    with pytest.raises(NotFound, match="No such File"):
        follow(cast("Gateway", told), Kept(None), io.BytesIO(), lambda _: None)
    assert told.asked == 2

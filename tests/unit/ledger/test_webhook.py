"""What docs/how-to/alerts.md shows for checking a signature takes ours, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.webhook import signature
from tests.support.pages import blocks

(SNIPPET,) = (block.code for block in blocks() if block.mark == "signature")


def shown() -> Callable[..., bool]:
    names: dict[str, Any] = {}
    exec(compile(SNIPPET, "alerts.md", "exec"), names)
    found: Callable[..., bool] = names["genuine"]
    return found


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**33), st.binary(max_size=50), st.binary(max_size=50))
def test_our_signature_is_genuine_for_its_body_alone(secret: str, at: int, body: bytes, other: bytes) -> None:
    header = signature(secret, at, body)
    assert shown()(secret, header, body, at)
    assert shown()(secret, header, other, at) == (other == body)
    assert not shown()(secret + "x", header, body, at)
    assert not shown()(secret, header, body, at + 301)


@pytest.mark.parametrize("header", ["", "t=1", "v1=00", "t=x,v1=00", "t=1,v1=é", "t=1,v1=", "t=²,v1=0", "a,b,,="])
def test_any_other_header_is_not(header: str) -> None:
    assert not shown()("secret", header, b"{}", 1.0)

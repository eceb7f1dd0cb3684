"""The page on failover names tests that exist: what it says is held by them."""

from __future__ import annotations

import re

from tests.support.pages import ROOT

PAGE = ROOT / "docs/explanation/failover.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[^`]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 15
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []

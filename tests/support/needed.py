"""Programs that tests need and Python's packages do not bring: Postgres, promtool, a browser."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

VARIABLE = "EVERYTHING"
"""``.ci/run`` sets it: there a program that is not there is a failure, elsewhere its tests are skipped and say why."""


def missing(what: str, package: str) -> NoReturn:
    """The test cannot run here."""
    said = f"{what} not there: apt-get install {package}"
    if os.environ.get(VARIABLE):  # noqa: TID251 - a word of who runs the tests
        pytest.fail(said)
    pytest.skip(said)

"""The tour, once, as `make demo` runs it: it keeps its promises within its minute, and prints what happened."""

from __future__ import annotations

import re

import pytest

from tests.support.appliances import run


@pytest.mark.timeout(150)
async def test_the_tour_keeps_every_promise_within_a_minute() -> None:
    code, said, wrong = await run("demo", within=120)
    assert code == 0, said + wrong
    assert "Every promise was kept." in said
    assert "\x1b[" not in said  # no terminal, no colours
    assert "openai goes down" in said
    assert "openai is back" in said
    assert re.search(r"kill -9 of worker-anthropic with [1-9]\d* answers in flight", said)
    assert re.search(r"worker-anthropic is ready again", said)
    assert re.search(r"\[connection cut", said)
    accepted = int(re.findall(r"accepted jobs +(\d+)", said)[0])
    assert accepted > 200
    assert re.search(rf"results in the stream +{accepted} of {accepted} jobs", said)
    assert re.search(r"answers 429 +0, at \d+% of the limit", said)
    spent, budget, unpaid = re.findall(r"small budget +\$([\d.]+) of \$([\d.]+) spent, (\d+) jobs not run", said)[0]
    assert 0 < float(spent) <= float(budget)
    assert int(unpaid) > 0
    assert re.search(r"facts = meters +to the token and the cent, \d+ attempts estimated", said)
    assert float(re.findall(r"took +(\d+) s", said)[0]) <= 60
    assert wrong == ""

"""A whole day through the policy in seconds: an outage, another price at noon, limits all the time.

Caught here: a limit that is overshot, a job without an end, a price that nobody follows, traffic that stays away after
an outage or comes back all at once, a die in a room that has none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from itertools import pairwise
from math import sin, tau

import pytest

from catalogue.prices import Price
from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.decisions import Dispatch
from scheduler.policy.rules import Limit, Rules
from scheduler.whatif.places import Ends, drawn
from scheduler.whatif.replay import Fate, Replay
from scheduler.whatif.traffic import Arrival
from tests.unit.scheduler_policy import made

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
HOUR = 3_600.0
DAY = 24 * HOUR
JOBS = 20_000
OUTAGE = (10 * HOUR, 11 * HOUR)
EAST, WEST, SPARE = "east/m", "west/m", "spare/m"
REQUESTS, TOKENS = Limit("requests", 18), Limit("tokens", 14_000)


def price(amount: str, **over: object) -> Price:
    """Dollars a million tokens, whichever."""
    return Price.model_validate({"input": Decimal(amount), "output": Decimal(amount), **over})


# East is the cheapest until noon, when it becomes the dearest; the spare costs most of the time twice as much.
PRICES = {
    EAST: (price("1"), price("9", hours=(time(12), time(0)))),
    WEST: (price("2"),),
    SPARE: (price("4"),),
}


def rules(strategy: str) -> Rules:
    """Three places; the two usual ones have limits that a busy hour reaches."""
    return made.rules(
        {"r": (EAST, WEST, SPARE)},
        limits={"east": (REQUESTS, TOKENS), "west": (REQUESTS, TOKENS)},
        facts={name: {"prices": told} for name, told in PRICES.items()},
        route={"strategy": strategy},
    )


def traffic() -> list[Arrival]:
    """A day of it: quiet at night, above the limits of one place in the afternoon."""
    found, at = [], 0.0
    for number in range(JOBS):
        busy = 1.0 - 0.6 * sin(tau * (at / DAY + 0.1))
        at += DAY / JOBS / busy * 2.0 * drawn(5, number)
        tokens = 100 + int(900 * drawn(6, number))
        project = "q" if number % 3 == 0 else "p"
        usage = Usage(input=tokens, output=tokens // 2)
        found.append(Arrival(MIDNIGHT + at, project, f"j-{number}", "r", usage))
    return [each for each in found if each.at < MIDNIGHT + DAY]


@dataclass
class Region:
    """Places that answer in a second or two, but one does not during its outage; keeps what was sent where."""

    down: str = EAST
    sent: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def ends(self, arrival: Arrival, deployment: str, attempt: int, wall: float) -> Ends:
        """Answers, and refused connections in the outage."""
        if deployment == self.down and OUTAGE[0] <= wall - MIDNIGHT < OUTAGE[1]:
            return Ends(0.05, kind=FailureKind.SERVER_ERROR)
        return Ends(0.5 + 1.5 * drawn(7, arrival.job, attempt), 0.2)

    def saw(self, dispatch: Dispatch, arrival: Arrival, ends: Ends, wall: float) -> None:
        """Of every attempt: when, and how many tokens it was metered at."""
        tokens = arrival.usage.total if ends.kind is None else arrival.usage.input
        self.sent.setdefault(dispatch.deployment, []).append((wall - MIDNIGHT, tokens))


def day() -> tuple[list[Fate], Region]:
    """The whole of it, by price."""
    region = Region()
    return Replay(rules("cheapest"), region, start=MIDNIGHT, witness=region.saw).run(traffic()), region


def most_in_a_window(sent: list[tuple[float, int]], window: float = 60.0) -> tuple[int, int]:
    """Requests and tokens in the fullest window."""
    start, requests, tokens, most = 0, 0, 0, (0, 0)
    for at, amount in sent:
        requests, tokens = requests + 1, tokens + amount
        while sent[start][0] <= at - window:
            requests, tokens = requests - 1, tokens - sent[start][1]
            start += 1
        most = (max(most[0], requests), max(most[1], tokens))
    return most


def hours(sent: list[tuple[float, int]]) -> Counter[int]:
    """Attempts by hour of the day."""
    return Counter(int(at // HOUR) for at, _ in sent)


@pytest.fixture(scope="module")
def cheapest() -> tuple[list[Fate], Region]:
    """The day by price."""
    return day()


def test_every_job_of_a_day_has_an_answer_in_spite_of_an_outage(cheapest: tuple[list[Fate], Region]) -> None:
    fates, _ = cheapest
    assert Counter(fate.state for fate in fates) == {JobState.SUCCEEDED: len(fates)}
    assert max(fate.seconds for fate in fates) < 60.0
    assert len(fates) > 0.8 * JOBS


def test_no_window_of_the_day_is_over_a_limit(cheapest: tuple[list[Fate], Region]) -> None:
    _, region = cheapest
    for place in (EAST, WEST):
        requests, tokens = most_in_a_window(region.sent[place])
        assert requests <= REQUESTS.amount
        # What a prompt takes is estimated before it is known: the estimates err to both sides, and not by much.
        assert tokens <= 1.1 * TOKENS.amount
        assert max(requests / REQUESTS.amount, tokens / TOKENS.amount) > 0.7, "the day does come near them"
    assert region.sent[SPARE], "what is beyond them goes on"


def test_the_cheapest_place_follows_the_price_at_noon(cheapest: tuple[list[Fate], Region]) -> None:
    _, region = cheapest
    east, west = hours(region.sent[EAST]), hours(region.sent[WEST])
    for hour in (*range(10), 11):
        assert east[hour] > west[hour], hour
    for hour in range(12, 24):
        assert west[hour] > 5 * east[hour], hour


def test_traffic_leaves_a_region_that_is_down_and_comes_back_without_a_burst(
    cheapest: tuple[list[Fate], Region],
) -> None:
    fates, region = cheapest
    down = [at for at, _ in region.sent[EAST] if OUTAGE[0] <= at < OUTAGE[1]]
    came = [fate for fate in fates if OUTAGE[0] <= fate.arrival.at - MIDNIGHT < OUTAGE[1]]
    assert len(down) < 0.1 * len(came), "a breaker lets a probe through now and then, no more"
    probes = [at for at in down if at > OUTAGE[0] + 60.0]
    assert all(later - earlier >= 4.0 for earlier, later in pairwise(probes)), "one at a time"
    back = [at for at, _ in region.sent[EAST] if at >= OUTAGE[1]]
    assert back[0] < OUTAGE[1] + 130.0
    # In the ten seconds after the first probe no more came than at any other time.
    usual = max(Counter(int(at // 10.0) for at, _ in region.sent[EAST] if at < OUTAGE[0]).values())
    assert len([at for at in back if at < back[0] + 10.0]) <= usual
    assert hours(region.sent[EAST])[11] > hours(region.sent[WEST])[11]


@pytest.mark.parametrize("strategy", ["ordered", "weighted", "fastest", "least_loaded", "blend"])
def test_the_outage_by_another_strategy_loses_no_job_and_keeps_every_limit(strategy: str) -> None:
    region = Region()
    around = [each for each in traffic() if OUTAGE[0] - HOUR <= each.at - MIDNIGHT < OUTAGE[1] + HOUR]
    fates = Replay(rules(strategy), region, start=around[0].at, witness=region.saw).run(around)
    assert Counter(fate.state for fate in fates) == {JobState.SUCCEEDED: len(fates)}
    for place in (EAST, WEST):
        assert most_in_a_window(region.sent.get(place, []))[0] <= REQUESTS.amount


def test_the_same_day_has_the_same_fates() -> None:
    few = traffic()[:1_500]
    once, again = (Replay(rules("blend"), Region(), start=MIDNIGHT).run(few) for _ in range(2))
    assert once == again

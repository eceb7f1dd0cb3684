"""What a job will cost: learned averages; a producer's count is a guess, and ``max_tokens`` is only a ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.policy.rules import RouteRule

WEIGHT = 0.05
"""Of the newest observation in an average, once twenty have been seen."""
WIDEST = 20.0
"""A learned correction of a producer's count is at most this factor, either way."""
LONG = 2_000
"""Tokens from which on a count teaches how far the counts of long conversations are off: of short ones the provider's
own words around the tools are the larger part."""
TOLD = 5
"""Long ones that must have been seen before that is believed."""
LONG_WIDEST = 2.0
"""It is at most this factor, either way: by it jobs are refused."""


class Average:
    """A mean that turns into an exponentially weighted one as observations come."""

    __slots__ = ("count", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0

    def see(self, observed: float) -> None:
        """One observation."""
        self.count += 1
        self.value += (observed - self.value) * max(1.0 / self.count, WEIGHT)


class Estimates:
    """Output tokens by project and route; metered input, as a factor on the count, by project and deployment.

    Where a project has not been seen, the average over all serves; before that the route's ``expected_output``.
    """

    __slots__ = ("_inputs", "_long", "_outputs", "_routes")

    def __init__(self, routes: Mapping[str, RouteRule]) -> None:
        self._routes = routes
        self._outputs: dict[tuple[str, str], Average] = {}
        self._inputs: dict[tuple[str, str], Average] = {}
        self._long: dict[tuple[str, str], Average] = {}

    def output(self, project: str, route: str, max_output: int | None) -> int:
        """Expected output tokens, never more than the job permits."""
        average = self._outputs.get((project, route)) or self._outputs.get(("", route))
        # To the nearest: where every reservation is a little too large, what comes back finds no room and is lost.
        expected = max(1, round(average.value)) if average is not None else self._routes[route].expected_output
        return expected if max_output is None else max(1, min(expected, max_output))

    def input(self, project: str, deployment: str, counted: int) -> int:
        """Expected input tokens as the provider meters them, for a producer's count."""
        average = self._inputs.get((project, deployment)) or self._inputs.get(("", deployment))
        return max(1, counted if average is None else round(counted * average.value))

    def long_input(self, project: str, deployment: str, counted: int) -> int:
        """Expected input tokens of a conversation that may be too long; what other projects count is no measure."""
        average = self._long.get((project, deployment))
        if average is None or average.count < TOLD:
            return counted
        return round(counted * min(max(average.value, 1 / LONG_WIDEST), LONG_WIDEST))

    def learn(self, project: str, route: str, deployment: str, counted: int, used: tuple[int, int]) -> None:
        """An attempt succeeded and its ``used`` (input, output) tokens are known."""
        for who in (project, ""):
            _average(self._outputs, (who, route)).see(used[1])
            if counted > 0 and used[0] > 0:
                ratio = min(max(used[0] / counted, 1 / WIDEST), WIDEST)
                _average(self._inputs, (who, deployment)).see(ratio)
        if counted >= LONG and used[0] > 0:
            _average(self._long, (project, deployment)).see(min(used[0] / counted, WIDEST))


def _average(table: dict[tuple[str, str], Average], key: tuple[str, str]) -> Average:
    found = table.get(key)
    if found is None:
        found = table[key] = Average()
    return found

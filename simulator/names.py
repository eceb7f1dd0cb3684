"""The grammar of a model's name: a base name, then `+option=value` suffixes that bend this model alone (pure).

    gpt-5-mini+ttft=0.2+tps=50            paced
    claude-haiku-4-5+fault=stall@0.5      stalls after half of its answer
    anything+fault=503@2+times=1          answers 503 with `retry-after: 2` once, then works

Options: ``fault=KIND[@AMOUNT]`` (see ``faults``), ``p`` its probability, ``times`` how often it strikes, ``after`` how
many requests it lets pass first; ``latency``, ``ttft``, ``tps``, ``jitter`` as in ``settings.Pace``; ``tokens`` the
length of a text answer; ``think`` the length of its reasoning; ``context`` the context window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from simulator.faults import Fault, UnknownFault, parse_fault
from simulator.settings import Pace

SEPARATOR = "+"


class BadSuffix(ValueError):
    """A model name with a suffix that means nothing; the message says which and why."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name taken apart. ``base`` is what the provider calls the model; absent options are None."""

    full: str
    base: str
    fault: Fault | None = None
    latency: float | None = None
    ttft: float | None = None
    tps: float | None = None
    jitter: float | None = None
    tokens: int | None = None
    think: int | None = None
    context: int | None = None

    def pace(self, otherwise: Pace) -> Pace:
        """The pace of this model: its own options, the rest from ``otherwise``."""
        return Pace(
            latency=otherwise.latency if self.latency is None else self.latency,
            ttft=otherwise.ttft if self.ttft is None else self.ttft,
            tokens_per_second=otherwise.tokens_per_second if self.tps is None else self.tps,
            jitter=otherwise.jitter if self.jitter is None else self.jitter,
        )


@lru_cache(maxsize=4_096)
def parse_name(full: str) -> ModelName:
    """Take a model's name apart.

    Raises:
        BadSuffix: an unknown option, or a value out of its range.
    """
    base, *suffixes = full.split(SEPARATOR)
    options: dict[str, str] = {}
    for suffix in suffixes:
        option, equals, value = suffix.partition("=")
        if not equals or option not in (*_NUMBERS, *_FAULT_OPTIONS):
            raise BadSuffix(f"`{SEPARATOR}{suffix}` of the model's name is no option the simulator knows")
        options[option] = value
    for option in options.keys() & _NUMBERS.keys():
        _number(options, option)
    return ModelName(
        full=full,
        base=base,
        fault=_fault(options),
        latency=_number(options, "latency"),
        ttft=_number(options, "ttft"),
        tps=_number(options, "tps"),
        jitter=_number(options, "jitter"),
        tokens=_whole(options, "tokens"),
        think=_whole(options, "think"),
        context=_whole(options, "context"),
    )


_FAULT_OPTIONS = ("fault", "p", "times", "after")
_NUMBERS = {
    "latency": 86_400.0,
    "ttft": 86_400.0,
    "tps": 1e9,
    "jitter": 1.0,
    "tokens": 1e6,
    "think": 1e6,
    "context": 1e9,
    "p": 1.0,
    "times": 1e9,
    "after": 1e9,
}
"""Each option that takes a number, and the largest it takes."""


def _number(options: dict[str, str], option: str) -> float | None:
    text = options.get(option)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise BadSuffix(f"`{option}={text}` of the model's name needs a number") from None
    if not 0 <= value <= _NUMBERS[option]:
        raise BadSuffix(f"`{option}={text}` of the model's name must be from 0 to {_NUMBERS[option]:g}")
    return value


def _whole(options: dict[str, str], option: str) -> int | None:
    value = _number(options, option)
    return None if value is None else int(value)


def _fault(options: dict[str, str]) -> Fault | None:
    if "fault" not in options:
        stray = [option for option in ("p", "times", "after") if option in options]
        if stray:
            raise BadSuffix(f"`{stray[0]}` of the model's name says how often a fault strikes, but there is no fault")
        return None
    probability = _number(options, "p")
    try:
        return parse_fault(
            options["fault"],
            probability=1.0 if probability is None else probability,
            times=_whole(options, "times"),
            after=_whole(options, "after") or 0,
        )
    except UnknownFault as error:
        raise BadSuffix(str(error)) from error

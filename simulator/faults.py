"""What can go wrong, and when it does: kinds of faults, rules, and which one strikes a request (pure).

A kind belongs to a family, which says where it strikes:

    refusal   instead of an answer, an error in the provider's own shape (429, 503, quota, context, auth, ...)
    before    instead of any answer, something no API would send (reset, hang, HTML page, empty body)
    within    in the middle of an answer (cut, stall, malformed chunk, ...), after the fraction ``amount`` of its tokens
    ending    an answer that ends, or is, otherwise than it should (no terminator, content filter); text that was to be
              JSON of a schema is of another (`off_schema`), or stands among words (`fenced`)
    listener  the provider's port is closed: connections are refused
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Family = Literal["refusal", "before", "within", "ending", "listener"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table below: where it strikes, what ``amount`` means and what it is by default."""

    family: Family
    amount: Literal["fraction", "seconds", "megabytes", "status", "nothing"] = "nothing"
    default: float = 0.0


KINDS: dict[str, Kind] = {
    # refusals; `amount` is the retry-after to announce, 0 for none
    "rate_limit": Kind("refusal", "seconds", 1.0),
    "overloaded": Kind("refusal", "seconds"),
    "server_error": Kind("refusal", "seconds"),
    "auth": Kind("refusal"),
    "permission": Kind("refusal"),
    "quota": Kind("refusal"),
    "model_gone": Kind("refusal"),
    "context": Kind("refusal"),
    "prompt_blocked": Kind("refusal"),
    "bad_request": Kind("refusal"),
    # before
    "reset": Kind("before"),
    "hang": Kind("before"),
    "empty_body": Kind("before", "status", 200),
    "html": Kind("before", "status", 502),
    # within; `reset@0.5` and `error@0` move as they are written
    "slow": Kind("within", "seconds", 30.0),
    "stall": Kind("within", "fraction", 0.5),
    "cut": Kind("within", "fraction", 0.5),
    "reset_within": Kind("within", "fraction", 0.5),
    "error_within": Kind("within", "fraction", 0.5),
    "malformed_chunk": Kind("within", "fraction", 0.5),
    "malformed_json": Kind("within", "fraction", 0.5),
    "bad_framing": Kind("within", "fraction", 0.5),
    "gigantic_line": Kind("within", "megabytes", 16.0),
    # ending
    "no_terminator": Kind("ending"),
    "no_done": Kind("ending"),
    "wrong_content_type": Kind("ending"),
    "content_filter": Kind("ending", "fraction", 0.5),
    "off_schema": Kind("ending"),
    "fenced": Kind("ending"),
    # listener
    "refused": Kind("listener"),
}

ALIASES = {"slow_first_token": "slow", "malformed": "malformed_chunk", "html_page": "html", "outage": "overloaded"}

STATUSES = {
    401: "auth",
    403: "permission",
    404: "model_gone",
    429: "rate_limit",
    500: "server_error",
    503: "overloaded",
    529: "overloaded",
}
"""Statuses that are refusals with a shape of their own; any other from 400 to 599 takes the provider's general one."""

_STATUS = re.compile(r"[45]\d\d")


class UnknownFault(ValueError):
    """A fault that the table does not have, or an amount out of range; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind with its amount, and how often it strikes.

    ``status`` is 0 unless the fault was named by one. ``probability`` of striking a request that it applies to;
    ``after`` that many such requests, at most ``times`` of them (None: always).
    """

    kind: str
    amount: float = 0.0
    status: int = 0
    probability: float = 1.0
    times: int | None = None
    after: int = 0

    @property
    def family(self) -> Family:
        return "refusal" if self.kind == "status" else KINDS[self.kind].family


def parse_fault(text: str, *, probability: float = 1.0, times: int | None = None, after: int = 0) -> Fault:
    """A fault from ``KIND`` or ``KIND@AMOUNT``; a kind may be a status from 400 to 599.

    Raises:
        UnknownFault: no such kind, or an amount that is none.
    """
    name, at, amount_text = text.partition("@")
    amount: float | None = None
    if at:
        try:
            amount = float(amount_text)
        except ValueError:
            raise UnknownFault(f"fault `{text}`: `{amount_text}` is not a number") from None
    status = int(name) if _STATUS.fullmatch(name) else 0
    name = STATUSES.get(status, "status") if status else ALIASES.get(name, name)
    if name == "reset" and amount is not None:
        name = "reset_within"
    kind = Kind("refusal", "seconds") if name == "status" else KINDS.get(name)
    if kind is None:
        known = ", ".join(sorted(KINDS))
        raise UnknownFault(f"no fault is called `{name}`; there are {known}, and any status from 400 to 599")
    value = kind.default if amount is None else amount
    _check(text, kind, value)
    return Fault(name, value, status, probability, times, after)


def _check(text: str, kind: Kind, value: float) -> None:
    low, high = _RANGES[kind.amount]
    if not low <= value <= high:
        raise UnknownFault(f"fault `{text}`: its amount is {kind.amount}, from {low:g} to {high:g}")


_RANGES: dict[str, tuple[float, float]] = {
    "fraction": (0.0, 1.0),
    "seconds": (0.0, 86_400.0),
    "megabytes": (0.001, 256.0),
    "status": (200, 599),
    "nothing": (0.0, 0.0),
}


@dataclass(slots=True)
class Rule:
    """A fault laid on a provider, with what it applies to and how often it has struck.

    ``models``: a pattern as in file names, over the base name of the model. ``key``: an API key's id. ``until``:
    monotonic seconds after which the rule is gone.
    """

    id: int
    fault: Fault
    provider: str
    models: str = "*"
    key: str | None = None
    until: float | None = None
    met: int = 0
    struck: int = 0

    def expired(self, now: float) -> bool:
        return self.until is not None and now >= self.until

    def spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times

    def strikes(self, model: str, key: str, chance: float) -> bool:
        """Whether it strikes this request; ``chance`` is even between 0 and 1. Counts the request if it applies."""
        if self.key is not None and self.key != key:
            return False
        if self.models != "*" and not fnmatch.fnmatchcase(model, self.models):
            return False
        self.met += 1
        if self.met <= self.fault.after or self.spent() or chance >= self.fault.probability:
            return False
        self.struck += 1
        return True


REMEMBERED_NAMES = 10_000
"""Models' names whose faults are counted (`times`, `after`); beyond that the oldest is forgotten."""


class Faults:
    """The rules of one provider, in the order in which they were laid: the first that strikes is the one."""

    def __init__(self) -> None:
        self._rules: dict[int, Rule] = {}
        self._named: dict[str, Rule] = {}

    def add(self, rule: Rule) -> None:
        self._rules[rule.id] = rule

    def remove(self, id: int) -> bool:
        """Whether there was such a rule."""
        return self._rules.pop(id, None) is not None

    def clear(self) -> None:
        """Remove every rule, and forget how often the faults in models' names have struck."""
        self._rules.clear()
        self._named.clear()

    def rules(self, now: float) -> Iterator[Rule]:
        """The rules in force."""
        self._drop_expired(now)
        yield from self._rules.values()

    def pick(self, full: str, named: Fault | None, *, model: str, key: str, chance: float, now: float) -> Fault | None:
        """The fault that strikes a request for ``full`` (``model`` without suffix), if one does."""
        if named is not None and self._named_strikes(full, named, chance):
            return named
        if not self._rules:
            return None
        self._drop_expired(now)
        return next((rule.fault for rule in self._rules.values() if rule.strikes(model, key, chance)), None)

    def _named_strikes(self, full: str, named: Fault, chance: float) -> bool:
        if named.times is None and not named.after:
            return chance < named.probability
        rule = self._named.get(full)
        if rule is None:
            if len(self._named) >= REMEMBERED_NAMES:
                del self._named[next(iter(self._named))]
            rule = self._named[full] = Rule(0, named, "")
        return rule.strikes("", "", chance)

    def closes_listener(self, now: float) -> bool:
        """Whether a rule in force wants the provider's port closed."""
        return any(rule.fault.family == "listener" for rule in self.rules(now))

    def _drop_expired(self, now: float) -> None:
        for number in [number for number, rule in self._rules.items() if rule.expired(now)]:
            del self._rules[number]

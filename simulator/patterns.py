"""Strings that match a regular expression, as far as schemas use them (pure).

Reads the tree that Python's own parser makes of the pattern, so the grammar is exactly the one that validates later.
"""

from __future__ import annotations

import re
from re import _constants, _parser  # type: ignore[attr-defined]  # the parser of `re` has no public name
from typing import Any

from simulator.words import Chooser

MOST_REPEATS = 3
"""How much further than its minimum an unbounded repeat goes at most."""

_CATEGORIES = {
    _constants.CATEGORY_DIGIT: "0123456789",
    _constants.CATEGORY_WORD: "abcdefghijklmnopqrstuvwxyz",
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_NOT_DIGIT: "abcdefghij",
    _constants.CATEGORY_NOT_WORD: " -.",
    _constants.CATEGORY_NOT_SPACE: "abcdefghij",
}
_PRINTABLE = "".join(map(chr, range(33, 127)))


def matching(pattern: str, choose: Chooser) -> str:
    """A string that matches; one that may not, where the pattern is invalid or uses look-around and back-references."""
    try:
        tree = _parser.parse(pattern)
    except (re.error, RecursionError):
        return "x"
    return "".join(_part(op, argument, choose) for op, argument in tree)


def _part(op: Any, argument: Any, choose: Chooser) -> str:
    if op is _constants.LITERAL:
        return chr(argument)
    if op is _constants.NOT_LITERAL:
        return "a" if argument != ord("a") else "b"
    if op is _constants.ANY:
        return "abcdefghij"[choose(10)]
    if op is _constants.IN:
        return _member(argument, choose)
    if op is _constants.BRANCH:
        branches = argument[1]
        return _sequence(branches[choose(len(branches))], choose)
    if op is _constants.SUBPATTERN:
        return _sequence(argument[3], choose)
    if op in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        low, high, tree = argument
        most = min(int(high), int(low) + MOST_REPEATS)
        times = int(low) + (choose(most - int(low) + 1) if most > low else 0)
        return "".join(_sequence(tree, choose) for _ in range(times))
    return ""


def _sequence(tree: Any, choose: Chooser) -> str:
    return "".join(_part(op, argument, choose) for op, argument in tree)


def _member(members: list[Any], choose: Chooser) -> str:
    if members[0][0] is _constants.NEGATE:
        excluded = re.compile(_class_text(members[1:]))
        allowed = [one for one in _PRINTABLE + " " if not excluded.fullmatch(one)]
        return allowed[choose(len(allowed))] if allowed else ""
    op, argument = members[choose(len(members))]
    if op is _constants.LITERAL:
        return chr(argument)
    if op is _constants.RANGE:
        low, high = argument
        return chr(low + choose(min(high - low + 1, 64)))
    letters = _CATEGORIES.get(argument, "a")
    return letters[choose(len(letters))]


def _class_text(members: list[Any]) -> str:
    """The members of a character class, written out again."""
    parts = []
    for op, argument in members:
        if op is _constants.LITERAL:
            parts.append(re.escape(chr(argument)))
        elif op is _constants.RANGE:
            parts.append(f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}")
        else:
            parts.append({_constants.CATEGORY_DIGIT: r"\d", _constants.CATEGORY_WORD: r"\w"}.get(argument, r"\s"))
    return f"[{''.join(parts)}]"

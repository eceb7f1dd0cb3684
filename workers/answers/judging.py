"""A text against a JSON Schema: whether it is the JSON that was asked for, what may be repaired, what is wrong. Pure.

A repair never makes anything up. Words around the one value are cut, commas before a closing bracket taken out, and an
optional key that is null where the schema has no null is left out: strict modes make models write those. What comes of
it is given out only if it validates as it stands.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

import jsonschema_rs

from workers.answers.sieve import Sieve

__all__ = ["Check", "Unusable", "Verdict", "compiled", "judge"]

MOST_NULLS = 64
"""Places of an answer that are tried for a null too many."""
_DEEPEST = 8
"""Alternatives within alternatives that are looked into."""
_LONGEST_WORDS, _LONGEST_STEP, _MOST_STEPS = 300, 60, 16
_BRACKETS = re.compile(r"[{}\[\]]")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half a character beyond the first 65,536: without the other half it is none."""
_BACKTRACKS = 20_000
"""Steps a pattern that must look around may take for one string; the others take time in proportion to it."""
_PATTERN_BYTES = 1024 * 1024
_MASK = "the value"
"""Stands for what the model wrote, which does not belong into messages."""
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Unusable(ValueError):
    """The schema is none; the message says why."""


class Check(Protocol):
    """A schema ready to be checked against."""

    def is_valid(self, instance: Any) -> bool: ...

    def validate(self, instance: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """``text``: the JSON to give out, which validates, with the ``repairs`` it took; else the ``complaint``."""

    text: str | None = None
    repairs: tuple[str, ...] = ()
    complaint: str = ""


def compiled(schema: dict[str, Any]) -> Check:
    """Ready to be checked against. Nothing is ever fetched for it. Raises Unusable."""
    try:
        return jsonschema_rs.validator_for(
            schema,
            mask=_MASK,
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(
                backtrack_limit=_BACKTRACKS, size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES
            ),
        )
    except jsonschema_rs.ValidationError as error:
        raise Unusable(_complaint(error)) from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:  # nested too deeply, or no Unicode
        raise Unusable(_short(str(error))) from error


def judge(check: Check, text: str, *, repair: bool, nulls: bool) -> Verdict:
    """The verdict on a whole text. ``repair``: words and commas may go; ``nulls``: optional keys that are null too."""
    repairs: list[str] = []
    value, wrong = _read(text)
    if wrong and repair:
        text, value, wrong, repairs = _sifted(text, wrong)
    if wrong:
        return Verdict(complaint=wrong)
    try:
        if check.is_valid(value):
            return Verdict(text, tuple(repairs))
        complaint = _first(check, value)
        gone = _leave_out_nulls(check, value) if nulls else 0
    except (ValueError, RecursionError) as error:
        return Verdict(complaint=f"the answer cannot be checked: {_short(str(error))}")
    if not gone:
        return Verdict(complaint=complaint)
    left = "1 optional key that was null is" if gone == 1 else f"{gone} optional keys that were null are"
    return Verdict(json.dumps(value, ensure_ascii=False), (*repairs, f"{left} left out"))


# -- reading


def _read(text: str) -> tuple[Any, str]:
    """The value, and what is wrong with the text if it is no JSON that everyone reads alike."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite)
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value, ""
    except json.JSONDecodeError as error:
        if not text.strip():
            return None, "the answer has no text"
        return None, f"the answer is no JSON: {error.msg} (line {error.lineno}, column {error.colno})"
    except RecursionError:
        return None, "the answer is nested too deeply"
    except ValueError as error:
        return None, f"the answer is no JSON: {_short(str(error))}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _sifted(text: str, wrong: str) -> tuple[str, Any, str, list[str]]:
    """The text without what is around its one value; the old complaint where there is not exactly one."""
    sieve = Sieve()
    kept = sieve.feed(text)
    around = sieve.before.strip(), sieve.after.strip()
    if not sieve.whole or any(map(_BRACKETS.search, around)):
        return text, None, wrong, []
    kept += sieve.end()
    value, still = _read(kept)
    if still:
        return text, None, wrong, []
    repairs = [f"{len(''.join(around))} characters around the JSON value are cut"] if any(around) else []
    if sieve.commas:
        repairs.append(f"{sieve.commas} commas before a closing bracket are taken out")
    return kept, value, "", repairs


# -- nulls


def _leave_out_nulls(check: Check, value: Any) -> int:
    """Takes keys out that are null where they may not be. Returns how many; 0 if the value is not valid then."""
    gone = 0
    while gone < MOST_NULLS:
        try:
            check.validate(value)
        except jsonschema_rs.ValidationError as error:
            found = sum([_leave_out(value, path) for path in _places(error, 0)])
            if not found:
                return 0
            gone += found
        else:
            return gone
    return 0


def _places(error: jsonschema_rs.ValidationError, depth: int) -> list[list[str | int]]:
    """Where this complaint, or one of the alternatives behind it, is about."""
    paths = [list(error.instance_path)]
    kind = error.kind
    if depth < _DEEPEST and isinstance(
        kind, jsonschema_rs.ValidationErrorKind.AnyOf | jsonschema_rs.ValidationErrorKind.OneOfNotValid
    ):
        for option in kind.context:
            for inner in option[:MOST_NULLS]:
                paths += _places(inner, depth + 1)
    return paths


def _leave_out(value: Any, path: list[str | int]) -> bool:
    if not path:
        return False
    for step in path[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False  # a place within one that has gone already
    last = path[-1]
    if isinstance(value, dict) and last in value and value[last] is None:
        del value[last]
        return True
    return False


# -- words


def _first(check: Check, value: Any) -> str:
    try:
        check.validate(value)
    except jsonschema_rs.ValidationError as error:
        return _complaint(error)
    return "the answer does not validate"


def _complaint(error: jsonschema_rs.ValidationError) -> str:
    where = "".join(map(_step, error.instance_path[:_MOST_STEPS])).removeprefix(".")
    return f"{where or 'the root'}: {_short(error.message)}"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    name = step if len(step) <= _LONGEST_STEP else f"{step[:_LONGEST_STEP]}…"
    return f".{name}" if _PLAIN_KEY.fullmatch(name) else f"[{json.dumps(name, ensure_ascii=False)}]"


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"

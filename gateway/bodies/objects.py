"""JSON of clients, as RFC 8259 has it: what others could not read again is refused before it goes any further.

No NaN and no infinity, no whole number of more than 64 bits, nothing deeper than the parser's bound (some 200 levels).
Of a name that is given twice the last value counts, as in the providers' own APIs.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from gateway.bodies.failures import invalid

_INFINITE = (float("inf"), float("-inf"))
_LARGEST_INTEGER = 2**64 - 1


def json_object(data: bytes, *, what: str = "the body") -> dict[str, Any]:
    """A text that is one JSON object. Raises ``Failed`` with 400, which names it ``what``."""
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        message = f"{what} is no JSON: {error}"
        raise invalid(message, code="invalid_json", remedy="send one JSON object") from error
    if not isinstance(value, dict):
        raise invalid(f"{what} is no JSON object", code="invalid_json", remedy="send one JSON object")
    if _beyond_numbers(value):
        raise invalid(f"{what} has a number that is too large", code="invalid_json", remedy="send a smaller number")
    return value


def _beyond_numbers(value: Any) -> bool:
    """Whether there is a number that no double holds (``1e999``), or a whole one of more than 64 bits.

    The first no JSON can say again, the second few readers of JSON take (RFC 8259, 6).
    """
    left = [value]
    while left:
        one = left.pop()
        if type(one) is dict:
            left.extend(one.values())
        elif type(one) is list:
            left.extend(one)
        elif (type(one) is float and one in _INFINITE) or (
            type(one) is int and not -_LARGEST_INTEGER <= one <= _LARGEST_INTEGER
        ):
            return True
    return False

"""What a form says in two fields: a length of time, as an amount and its unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.panels import Amiss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


def length(form: Mapping[str, str], field: str, units: Sequence[str]) -> float | None:
    """Seconds of what ``field`` says in the form's ``unit``, one of ``units`` (the first if it names none); ``None`` if
    it says nothing. Raises Amiss.
    """
    amount, unit = form.get(field, "").strip(), form.get("unit", units[0])
    if not amount:
        return None
    try:
        return float(amount) * {name: _SECONDS[name] for name in units}[unit]
    except (KeyError, ValueError) as error:
        raise Amiss("for how long: a number and a unit") from error

"""How the configuration's values are written: times with units, names, budgets that bound something."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from typing_extensions import TypedDict

from job_contracts.attempts import Timeouts
from job_contracts.money import Budget

Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]


_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)$")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds(value: Any) -> Any:
    """A time as people write it (``500ms``, ``8s``, ``2m``, ``1h``, or plain seconds) as seconds greater than 0."""
    found = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if found is not None:
        value = float(found.group(1)) * _UNITS[found.group(2)]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**9:
        message = "a time greater than 0, such as 8s, 500ms, 2m or plain seconds"
        raise ValueError(message)
    return value


def _times(value: Any) -> Any:
    """Timeouts as people write them: ``ttft`` is short for ``first_token``, and values have units."""
    if not isinstance(value, dict):
        return value
    if "ttft" in value and "first_token" in value:
        message = "either ttft or first_token, not both: they are the same"
        raise ValueError(message)
    known = Timeouts.model_fields
    named = {"first_token" if name == "ttft" else name: given for name, given in value.items()}
    return {name: seconds(given) if name in known else given for name, given in named.items()}


WrittenTime = Annotated[str, Field(pattern=_DURATION.pattern)] | Annotated[float, Field(gt=0)]


class WrittenTimes(TypedDict, total=False):
    """Timeouts as people write them, for the JSON Schema: in seconds, or with a unit (``500ms``, ``8s``, ``2m``)."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    connect: WrittenTime
    ttft: WrittenTime
    first_token: WrittenTime
    stall: WrittenTime
    total: WrittenTime


RouteTimeouts = Annotated[Timeouts, BeforeValidator(_times, json_schema_input_type=WrittenTimes)]


def _bounding(budget: Budget) -> Budget:
    if not budget.amounts():
        message = "an amount for at least one of hour, day, week, month and total"
        raise ValueError(message)
    return budget


Bounding = Annotated[Budget, AfterValidator(_bounding)]
"""A budget that bounds something: one without amounts is a mistake where a person wrote it."""


def _one_value(tag: str) -> str:
    name, equals, value = tag.partition("=")
    if not equals or not 0 < len(name) <= 64 or not 0 < len(value) <= 128:
        message = "a tag's name and value, such as team=search"
        raise ValueError(message)
    return tag


Tag = Annotated[str, AfterValidator(_one_value), Field(json_schema_extra={"pattern": "^[^=]{1,64}=.{1,128}$"})]


def _place(database: SecretStr) -> SecretStr:
    """Empty where a process is not to know it."""
    if not re.match(r"^(sqlite|postgresql)(\+\w+)?://|^$", database.get_secret_value()):
        message = "sqlite:///FILE or postgresql://user:password@host/name"
        raise ValueError(message)
    return database


class Section(BaseModel):
    """Base of all sections: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

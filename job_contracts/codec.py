"""How every message becomes bytes and back: frozen models, JSON, versioned by ``major.minor``.

A reader accepts every minor version of its own major version and ignores fields it does not know, so a newer writer may
add fields that have a default (and kinds of failure); anything else is another major version, which is refused with a
clear error. Times are UTC seconds since the epoch as JSON numbers, money is a decimal string in US dollars.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from job_contracts.problems import brief, dotted, problem

__all__ = ["VERSION", "ContractError", "Version", "Wire", "check", "decode", "dotted", "encode"]

VERSION = "1.3"
"""The version this code writes."""

_MAJOR = VERSION.partition(".")[0]


class ContractError(ValueError):
    """A message does not have the form its contract asks for.

    ``field`` is the dotted path of what is wrong (empty: the whole message), ``remedy`` says what to do about it. All
    three are brief, however long that is which they repeat: whoever is told of the error can be sent them.
    """

    def __init__(self, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(brief(message))
        self.field = brief(field)
        self.remedy = brief(remedy)


class Wire(BaseModel):
    """Base of everything that crosses a process border: immutable, tolerant of unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="ignore",
        ser_json_inf_nan="null",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,
    )


W = TypeVar("W", bound=Wire)


def _same_major(version: str) -> str:
    if version == VERSION:
        return version
    major, _, minor = version.partition(".")
    if major == _MAJOR and minor.isdecimal():
        return version
    raise PydanticCustomError(
        "other_version",
        "message version {theirs} cannot be read here: this side reads {major}.x",
        {"theirs": repr(version[:20]), "major": _MAJOR},
    )


Version = Annotated[
    str, AfterValidator(_same_major), WithJsonSchema({"type": "string", "pattern": rf"^{_MAJOR}\.[0-9]+$"})
]


def encode(message: Wire) -> bytes:
    """JSON bytes of a message; fields that are ``None`` are left out. Raises ContractError for what JSON cannot hold.

    That is possible only inside fields of any type, such as a tool's parameters.
    """
    try:
        return message.__pydantic_serializer__.to_json(message, exclude_none=True)
    except ValueError as error:
        name = type(message).__name__
        raise ContractError(f"{name}: {error}", remedy="use values that JSON in UTF-8 can hold") from error


def decode(kind: type[W], data: bytes | str) -> W:
    """Read a message of ``kind``. Raises ContractError naming the first offending field and what it should be."""
    try:
        message: W = kind.__pydantic_validator__.validate_json(data)
    except ValidationError as error:
        raise _refusal(kind, error) from error
    return message


def check(kind: type[W], values: object, *, strict_names: bool = False) -> W:
    """Build a message from Python values; with ``strict_names`` an unknown field is an error, not ignored.

    Raises ContractError naming the first offending field and what it should be.
    """
    try:
        return kind.model_validate(values, extra="forbid" if strict_names else None)
    except ValidationError as error:
        raise _refusal(kind, error) from error


def _refusal(kind: type[BaseModel], error: ValidationError) -> ContractError:
    found = problem(kind, error)
    message = f"{kind.__name__}: {found.field or 'the whole message'}: {found.message}"
    return ContractError(message, field=found.field, remedy=found.remedy)

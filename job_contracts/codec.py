"""How every message becomes bytes and back: frozen models, JSON, versioned by ``major.minor``.

A reader accepts every minor version of its own major version and ignores fields it does not know, so a newer writer may
add fields; another major version is refused with a clear error. Times are UTC seconds since the epoch as JSON numbers,
money is a decimal string in US dollars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "1.0"
"""The version this code writes."""


class ContractError(ValueError):
    """A message does not have the form its contract asks for; ``field`` is its dotted path, ``remedy`` says what to do."""

    def __init__(self, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy


class Wire(BaseModel):
    """Base of everything that crosses a process border: immutable, tolerant of unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", ser_json_inf_nan="null", allow_inf_nan=False, hide_input_in_errors=True
    )


W = TypeVar("W", bound=Wire)


def _same_major(version: str) -> str:
    if version.split(".", 1)[0] != VERSION.split(".", 1)[0]:
        message = f"message version {version!r} is not readable here (this side speaks {VERSION}); upgrade this side"
        raise ValueError(message)
    return version


Version = Annotated[str, AfterValidator(_same_major)]


def encode(message: Wire) -> bytes:
    """JSON bytes of a message; fields that are ``None`` are left out."""
    return message.__pydantic_serializer__.to_json(message, exclude_none=True)


def decode(kind: type[W], data: bytes | str) -> W:
    """Read a message of ``kind``. Raises ContractError naming the first offending field and what it should be."""
    try:
        return kind.__pydantic_validator__.validate_json(data)  # type: ignore[return-value]
    except ValidationError as error:
        raise explain(kind.__name__, error) from error


def check(kind: type[W], values: object, *, strict_names: bool = False) -> W:
    """Build a message from Python values; with ``strict_names`` an unknown field is an error, not ignored.

    Raises ContractError naming the first offending field and what it should be.
    """
    try:
        return kind.model_validate(values, extra="forbid" if strict_names else None)
    except ValidationError as error:
        raise explain(kind.__name__, error) from error


def explain(what: str, error: ValidationError) -> ContractError:
    """One readable sentence out of pydantic's report: the field that is wrong, why, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    field = dotted(first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{what}: {field or 'the whole value'}: {first['msg']}{more}"
    return ContractError(message, field=field, remedy=_remedy(first["type"], field))


def dotted(location: Sequence[str | int]) -> str:
    """``("messages", 0, "role")`` as ``messages[0].role``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _remedy(kind: str, field: str) -> str:
    if kind == "missing":
        return f"add {field}"
    if kind == "extra_forbidden":
        return f"remove {field}, or check its spelling"
    if kind == "json_invalid":
        return "send one valid JSON document in UTF-8"
    return f"correct {field}" if field else "correct the value"

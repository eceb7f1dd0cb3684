"""Answers as Python types: the JSON Schema that is asked for, and the validation of what comes back. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from job_contracts.chat import FinishReason, JsonSchemaFormat
from job_contracts.codec import dotted
from producer_sdk.errors import InvalidAnswer, InvalidRequest
from producer_sdk.generation import schema_format

if TYPE_CHECKING:
    from producer_sdk.answers import Answered

T = TypeVar("T")

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
"""Some models wrap JSON in a code fence although they were asked for JSON alone."""


def asked_for(type_: type[T], *, strict: bool | None) -> tuple[TypeAdapter[T], JsonSchemaFormat]:
    """How to validate answers of a type, and the format to ask for. Raises InvalidRequest for a type without schema."""
    try:
        adapter: TypeAdapter[T] = TypeAdapter(type_)
        schema = adapter.json_schema()
    except Exception as error:
        message = f"type_: {getattr(type_, '__name__', type_)!s} has no JSON Schema: {error}"
        raise InvalidRequest(
            message, field="type_", remedy="use a pydantic model, a dataclass or a TypedDict"
        ) from error
    return adapter, schema_format(type_, schema, strict=strict)


def read_as(adapter: TypeAdapter[T], answer: Answered) -> T:
    """The answer's text as a value of the type. Raises InvalidAnswer."""
    text: str = answer.text
    fenced = _FENCED.fullmatch(text)
    try:
        value: Any = adapter.validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        raise InvalidAnswer(_why(error, answer), text=text, answer=answer, field=_where(error)) from error
    return value  # type: ignore[no-any-return]  # TypeAdapter.validate_json is typed as T, the annotation above is not


def _why(error: ValidationError, answer: Answered) -> str:
    if answer.refusal is not None:
        return f"the model declined: {answer.refusal}"
    if answer.finish_reason is FinishReason.LENGTH:
        return "the answer was cut at max_tokens and is no complete JSON"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = dotted(first["loc"])
    return f"the answer does not fit: {f'{where}: ' if where else ''}{first['msg']}"


def _where(error: ValidationError) -> str | None:
    return dotted(error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]) or None

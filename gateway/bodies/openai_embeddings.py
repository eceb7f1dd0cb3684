"""OpenAI embeddings: the request's body and the list of vectors.

After the OpenAI API reference, ``POST /v1/embeddings``. ``purpose`` is ours: what the vectors are for, where a model
makes a difference of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gateway.bodies.asked import Asked
from gateway.bodies.failures import invalid
from gateway.bodies.kinds import whole
from gateway.bodies.schemas import COUNT, MODEL, SOME_TEXT, TEXT, Fields, each, either, many, one_of, shown, taken
from gateway.bodies.schemas import UNUSED as NO_EFFECT
from job_contracts.embeddings import MOST_INPUTS, Purpose, unpacked

UNUSED = frozenset({"user"})
KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "purpose"})
_PURPOSES = get_args(Purpose)
_MOST_DIMENSIONS = 65_536

Form = Literal["float", "base64"]


@dataclass(frozen=True, slots=True)
class Request:
    """One body. ``asked`` names the model alone."""

    asked: Asked
    inputs: tuple[str, ...]
    dimensions: int | None = None
    purpose: Purpose | None = None
    form: Form = "float"


def read(body: Mapping[str, Any]) -> Request:
    """What a body asks for. Raises ``Failed`` with 400 naming the field."""
    given = {name: value for name, value in body.items() if value is not None}
    model, dimensions, purpose = given.get("model"), given.get("dimensions"), given.get("purpose")
    for name in given:
        if name not in KNOWN | UNUSED:
            message = f"{name}: there is no such field"
            raise invalid(message, param=name, code="unknown_parameter", remedy="leave it out")
    if not isinstance(model, str) or not model:
        raise invalid("model: expected the name of a route", param="model", remedy="GET /v1/models lists them")
    inputs = _inputs(given.get("input"))
    if dimensions is not None:
        length = whole(dimensions)
        if length is None or not 1 <= length <= _MOST_DIMENSIONS:
            message = f"dimensions: {dimensions!r} is no length of a vector"
            raise invalid(message, param="dimensions", remedy=f"write a number from 1 to {_MOST_DIMENSIONS}")
        dimensions = length
    form = given.get("encoding_format", "float")
    if form not in get_args(Form):
        raise invalid(f"encoding_format: {form!r} is none", param="encoding_format", remedy="use float or base64")
    if purpose is not None and purpose not in _PURPOSES:
        remedy = f"use one of: {', '.join(_PURPOSES)}"
        raise invalid(f"purpose: {purpose!r} is none", param="purpose", remedy=remedy)
    asked = Asked(model=model, messages=(), unused=tuple(sorted(given.keys() & UNUSED)))
    return Request(asked, inputs, dimensions, purpose, form)


def _inputs(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise invalid("input: expected a text, or a list of at least one", param="input")
    if len(given) > MOST_INPUTS:
        message = f"input: {len(given)} texts are more than a request may have"
        raise invalid(message, param="input", remedy=f"send at most {MOST_INPUTS} at a time")
    for index, one in enumerate(given):
        if isinstance(one, str) and one:
            continue
        where = f"input[{index}]"
        if isinstance(one, int | list):
            why = "tokens are those of one vocabulary, and another model has another"
            raise invalid(f"{where}: {why}", param="input", code="unsupported_value", remedy="send the text itself")
        raise invalid(f"{where}: expected a text of at least one character", param="input")
    return tuple(given)


def answer(request: Request, vectors: Sequence[str], model: str, tokens: int) -> dict[str, Any]:
    """The list of vectors; ``vectors`` are base64 of 32-bit floats, little endian, as they travel."""
    as_text = request.form == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": one if as_text else unpacked(one)}
            for index, one in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


# -- for the document

REQUEST: Fields = taken(
    {"model": MODEL, "input": either(SOME_TEXT, many(SOME_TEXT, least=1, most=MOST_INPUTS))},
    {
        "dimensions": {"type": "integer", "minimum": 1, "maximum": _MOST_DIMENSIONS},
        "encoding_format": one_of(get_args(Form)),
        "purpose": {
            **one_of(_PURPOSES),
            "description": "What the vectors are for, where a model makes a difference of it.",
        },
        **each(UNUSED, NO_EFFECT),
    },
)
VECTORS: Fields = shown(
    {
        "object": {"const": "list"},
        "data": many(
            shown(
                {
                    "object": {"const": "embedding"},
                    "index": COUNT,
                    "embedding": either({**TEXT, "description": "base64"}, many({"type": "number"})),
                }
            ),
            least=1,
        ),
        "model": TEXT,
        "usage": shown({"prompt_tokens": COUNT, "total_tokens": COUNT}),
    }
)

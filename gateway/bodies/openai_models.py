"""Lists of models, which here are routes: OpenAI's, and Anthropic's with its pages.

After ``GET /v1/models`` of the OpenAI API reference and of https://docs.anthropic.com/en/api/models-list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.bodies.failures import Shape, invalid
from gateway.bodies.schemas import FLAG, TEXT, WHOLE, Fields, either, many, shown

PAGE, LARGEST_PAGE = 20, 1000
"""Models on a page of Anthropic's list, unless the request says otherwise, and at most."""
_UNKNOWN_DAY = "1970-01-01T00:00:00Z"


def openai_model(name: str) -> dict[str, Any]:
    """A ``model`` object. A route has no day of birth: ``created`` is 0."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock"}


def openai_list(names: Sequence[str], _: Mapping[str, str]) -> dict[str, Any]:
    """All of them; this list has no pages."""
    return {"object": "list", "data": [openai_model(name) for name in names]}


def anthropic_model(name: str) -> dict[str, Any]:
    """A model's entry. The API says to give the epoch for a day that is not known."""
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _UNKNOWN_DAY,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
        "line": None,
        "max_input_tokens": None,
        "max_tokens": None,
    }


def anthropic_list(names: Sequence[str], query: Mapping[str, str]) -> dict[str, Any]:
    """One page: ``limit`` of them, after ``after_id`` or before ``before_id``. Raises ``Failed`` with 400."""
    size = _limit(query.get("limit"))
    if "before_id" in query:
        end = _place(names, query["before_id"], "before_id")
        start = max(0, end - size)
        more = start > 0
    else:
        start = _place(names, query["after_id"], "after_id") + 1 if "after_id" in query else 0
        end = min(len(names), start + size)
        more = end < len(names)
    found = names[start:end]
    return {
        "data": [anthropic_model(name) for name in found],
        "has_more": more,
        "first_id": found[0] if found else None,
        "last_id": found[-1] if found else None,
    }


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE
    if not (given.isascii() and given.isdecimal()) or not 1 <= int(given[:9]) <= LARGEST_PAGE:
        raise invalid(f"limit: {given!r} is none", param="limit", remedy=f"write a number from 1 to {LARGEST_PAGE}")
    return int(given)


def _place(names: Sequence[str], name: str, param: str) -> int:
    if name not in names:
        raise invalid(f"{param}: there is no model {name!r}", param=param, remedy="use an id of an earlier page")
    return names.index(name)


ONE: dict[Shape, Callable[[str], dict[str, Any]]] = {"openai": openai_model, "anthropic": anthropic_model}
"""A model in the words of each API that has lists of them."""
ALL: dict[Shape, Callable[[Sequence[str], Mapping[str, str]], dict[str, Any]]] = {
    "openai": openai_list,
    "anthropic": anthropic_list,
}
"""The list, of which the request's query may ask for a part."""


# -- for the document

PAGES: Mapping[str, tuple[str, Fields]] = {
    "limit": ("Of Anthropic's list: how many on a page.", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}),
    "after_id": ("Of Anthropic's list: those behind it.", TEXT),
    "before_id": ("Of Anthropic's list: those before it.", TEXT),
}
"""Parameters of the list: what each says, and its JSON Schema."""
_OPENAI = shown({"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT})
_ANTHROPIC = shown({"type": {"const": "model"}, "id": TEXT, "display_name": TEXT, "created_at": TEXT})
_NAME = {"type": ["string", "null"]}
MODEL: Fields = either(_OPENAI, _ANTHROPIC)
MODELS: Fields = either(
    shown({"object": {"const": "list"}, "data": many(_OPENAI)}),
    shown({"data": many(_ANTHROPIC), "has_more": FLAG, "first_id": _NAME, "last_id": _NAME}),
)

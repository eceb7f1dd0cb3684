"""What the edge keeps of a response beside its job's result: how it was asked, and everything that was said before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire

ID = "resp_"
"""Response ids are this and the job's id, so that nobody has to look up which job a response is."""
_PREFIXES = {"function_call": "fc_", "function_call_output": "fco_", "reasoning": "rs_"}


class Kept(Wire):
    """The record of one response, in a stream of the edge's own (``conversations``)."""

    version: Version = VERSION
    created: float
    """UTC seconds."""
    model: str
    """The route that was asked for."""
    background: bool = False
    sealed: bool = False
    """Whether reasoning is to be given out so that it can be given back."""
    echo: dict[str, Any] = Field(default_factory=dict)
    """Fields of the request that the response object repeats."""
    items: tuple[dict[str, Any], ...] = ()
    """All items that led to the answer: those of the responses before it and their answers, then the request's own."""


def with_id(item: Mapping[str, Any], job: str, place: int) -> dict[str, Any]:
    """An item as it is kept and listed: with an id, which the API gives to those that have none."""
    fields = {"type": "message", **item}
    if fields["type"] == "message":
        fields.setdefault("status", "completed")
        if isinstance(fields.get("content"), str):
            kind = "output_text" if fields.get("role") == "assistant" else "input_text"
            fields["content"] = [{"type": kind, "text": fields["content"]}]
    if not fields.get("id"):
        fields["id"] = f"{_PREFIXES.get(fields['type'], 'msg_')}{job}_in{place}"
    return fields

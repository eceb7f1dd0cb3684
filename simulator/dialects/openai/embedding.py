"""OpenAI's embeddings: requests read as strictly as OpenAI does, answers in either encoding (pure)."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Texts
from simulator.dialects.dialect import bad, parse_object, read_model
from simulator.meter import Usage
from simulator.settings import ProviderSettings
from simulator.vectors import DIMENSIONS, MOST_DIMENSIONS, as_base64

MOST_INPUTS = 2_048


def read(body: bytes, settings: ProviderSettings) -> Ask:
    """The request in a body.

    Raises:
        Rejected: with the refusal that OpenAI would give.
    """
    raw = parse_object(body)
    name = raw.get("model")
    if not isinstance(name, str) or not name:
        raise bad("you must provide a model parameter")
    model = read_model(name, settings)
    inputs = _inputs(raw.get("input"))
    encoding = raw.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise bad(f"'{encoding}' is not one of ['float', 'base64'] - 'encoding_format'", "encoding_format")
    length = raw.get("dimensions")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise bad(f"{length} is less than the minimum of 1 - 'dimensions'")
    if length is not None and length > MOST_DIMENSIONS:
        raise bad(f"Invalid value for 'dimensions' = {length}. Must be less than or equal to {MOST_DIMENSIONS}.")
    return Ask(
        model=model, prompt=inputs, turn="", texts=Texts(inputs, length or DIMENSIONS, packed=encoding == "base64")
    )


def _inputs(given: Any) -> list[str]:
    """Texts, or lists of tokens, one or many; tokens count as a text of their numbers."""
    if isinstance(given, str) or (isinstance(given, list) and given and all(isinstance(one, int) for one in given)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise bad(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
        )
    if len(given) > MOST_INPUTS:
        raise bad(
            f"Invalid 'input': array too long. Expected an array with maximum length {MOST_INPUTS}, but got an array "
            f"with length {len(given)} instead.",
            "input",
            "array_above_max_length",
        )
    found = [one if isinstance(one, str) else " ".join(map(str, one)) for one in given]
    if not all(found):
        raise bad("'input' cannot be an empty string.", "input")
    return found


def whole(ask: Ask, answer: Answer, usage: Usage) -> bytes:
    """The body of an answer."""
    packed = ask.texts is not None and ask.texts.packed
    data = [
        {"object": "embedding", "index": index, "embedding": as_base64(vector) if packed else vector}
        for index, vector in enumerate(answer.vectors)
    ]
    counts = {"prompt_tokens": usage.all_input, "total_tokens": usage.all_input}
    return to_json({"object": "list", "data": data, "model": ask.model.base, "usage": counts})

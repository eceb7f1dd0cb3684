"""What kind of JSON value a generation setting is, whichever API it came by. The contract checks their bounds.

The contract takes ``"0.5"`` for a number and ``1`` for true, as pydantic does; the APIs that are spoken here do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.bodies.failures import invalid
from job_contracts.chat import Settings
from job_contracts.jobs import MOST_TOKENS, Job

_WORDS = {float: "a number", int: "a whole number", bool: "true or false"}


KINDS: Mapping[str, type] = {
    "max_tokens": int,
    "max_completion_tokens": int,
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "seed": int,
    "presence_penalty": float,
    "frequency_penalty": float,
    "parallel_tool_calls": bool,
    "reasoning_budget": int,
    "logprobs": bool,
    "top_logprobs": int,
}
"""Settings that are one plain value, by name."""


def check_kinds(settings: Mapping[str, Any]) -> None:
    """Raise ``Failed`` with 400 for the first setting that is another kind of value than it must be."""
    for name, value in settings.items():
        kind = KINDS.get(name)
        if kind is None or value is None or _is(value, kind):
            continue
        raise invalid(f"{name}: expected {_WORDS[kind]}, not {value!r:.50}", param=name, code="invalid_type")


def _is(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int) or (isinstance(value, float) and (kind is float or value.is_integer()))


def whole(value: Any) -> int | None:
    """The whole number that a JSON value is, ``1.0`` too; ``None`` for anything else."""
    return int(value) if _is(value, int) else None


JOB: Mapping[str, Any] = Job.model_json_schema()["properties"]
"""A job's fields as the contract bounds them: written once, it takes a while."""
LONGEST_SESSION: int = JOB["session"]["anyOf"][0]["maxLength"]
"""Characters of a job's session."""


def session_of(value: Any, name: str) -> str | None:
    """What a body says of what belongs together; what is no text says nothing. Raises ``Failed`` with 400."""
    if not isinstance(value, str):
        return None
    if len(value) > LONGEST_SESSION:
        message = f"{name}: it has more than {LONGEST_SESSION} characters"
        raise invalid(message, param=name, remedy="send a shorter one")
    return value


def setting_schemas(names: Iterable[str]) -> dict[str, Any]:
    """The JSON Schema of generation settings that are plain values, as the contract bounds them."""
    known = Settings.model_json_schema()["properties"]
    found: dict[str, Any] = {}
    for name in sorted(names):
        said = _OPEN.get(name) or known[name]
        found[name] = {key: value for key, value in said.items() if key != "default"}
    return found


_TOKENS: Mapping[str, Any] = {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_TOKENS}
_OPEN: Mapping[str, Any] = {
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "stop": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}, "maxItems": 16}]},
}

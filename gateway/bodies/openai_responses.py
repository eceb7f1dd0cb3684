"""OpenAI's Responses API: what a request's body asks for.

After the API reference, ``POST /v1/responses``. Its items are read in ``openai_responses_items``; the answer is
written in ``openai_responses_answer`` and streamed in ``openai_responses_stream``. A field that is unknown is refused,
as the API does; one that is known and changes nothing here is told (``Asked.unused``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.bodies.asked import Asked
from gateway.bodies.failures import invalid
from gateway.bodies.kinds import session_of
from gateway.bodies.openai_responses_items import Turns
from gateway.bodies.openai_responses_kept import Kept, with_id

Fields = dict[str, Any]

ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
"""Fields of the body that the response object repeats."""
SAME = ("temperature", "top_p", "tool_choice", "parallel_tool_calls")
"""Fields that are generation settings under the same name in the SDK."""
UNUSED = frozenset(
    {
        "max_tool_calls",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "truncation",
        "user",
    }
)
"""Fields that a program may send and that change nothing here: what is too long is fitted as the route says."""
NOT_HERE = {
    "access_programs": "programs of a provider are not carried",
    "background_options": "x-penstock-deadline says until when",
    "context_management": "a conversation is fitted as its route says",
    "conversation": "name the response before it: previous_response_id",
    "image": "pictures go to the model as they are",
    "moderation": "nothing is moderated here",
    "prompt": "templates that lie at a provider are not carried: send instructions and input",
}
"""Fields of the API that would change the answer and cannot be carried: refused, never dropped."""
LOGPROBS, SEALED = "message.output_text.logprobs", "reasoning.encrypted_content"
OF_TOOLS = frozenset(
    {
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "web_search_call.action.sources",
        "web_search_call.results",
    }
)
"""What else may be included: nothing of it is in an answer here."""
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 16, 64, 512


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a body asks for, without what was said before it."""

    model: str
    items: tuple[Fields, ...]
    """Its own input."""
    settings: Mapping[str, Any]
    tools: tuple[Any, ...] = ()
    instructions: str | None = None
    previous: str | None = None
    """Id of the response that it goes on from."""
    stream: bool = False
    background: bool = False
    store: bool = True
    sealed: bool = False
    """Whether reasoning is to be given out so that it can be given back."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    session: str | None = None

    def asked(self, before: Sequence[Fields] = ()) -> Asked:
        """The request whole; ``before`` are the items of the conversation so far. Raises ``Failed`` with 400."""
        turns = Turns()
        for at, item in enumerate(before):
            turns.add(item, f"previous[{at}]")
        for at, item in enumerate(self.items):
            turns.add(item, f"input[{at}]")
        messages = turns.all()
        if not messages:
            raise invalid("input: there is nothing in it", param="input", remedy="say something")
        if self.instructions:
            messages.insert(0, {"role": "system", "content": self.instructions})
        return Asked(
            model=self.model,
            messages=messages,
            tools=self.tools,
            settings=self.settings,
            stream=self.stream,
            unused=(*self.unused, *turns.unused),
            session=self.session,
        )

    def kept(self, job: str, created: float, before: Sequence[Fields] = ()) -> Kept:
        """What is to be known of the response beside its result; ``created``: UTC seconds."""
        own = (with_id(item, job, len(before) + at) for at, item in enumerate(self.items))
        return Kept(
            created=created,
            model=self.model,
            background=self.background,
            sealed=self.sealed,
            echo=dict(self.echo),
            items=(*before, *own),
        )


def wanted(body: Mapping[str, Any]) -> Wanted:
    """Read a body. Raises ``Failed`` with 400 naming the field."""
    given = {name: value for name, value in body.items() if value is not None}
    echo = {name: given[name] for name in ECHOED if name in given}
    model = given.pop("model", None)
    if not isinstance(model, str) or not model:
        raise invalid("model: expected the name of a route", param="model", remedy="GET /v1/models lists them")
    unused = [name for name in given if name in UNUSED]
    settings: Fields = {name: given.pop(name) for name in SAME if name in given}
    if "max_output_tokens" in given:
        settings["max_tokens"] = given.pop("max_output_tokens")
    unused += _put_text(settings, given.pop("text", {}))
    unused += _put_reasoning(settings, given.pop("reasoning", {}))
    sealed, more = _included(settings, given.pop("include", ()), given.pop("top_logprobs", None))
    stream = _flag(given.pop("stream", False), "stream")
    background, store = _flag(given.pop("background", False), "background"), _flag(given.pop("store", True), "store")
    if background and not store:
        remedy = "leave store out: an answer in the background has to be kept to be fetched"
        raise invalid("background: it goes with store: true", param="background", remedy=remedy)
    _check_stream_options(given.pop("stream_options", None), stream=stream)
    _check_metadata(given.pop("metadata", {}))
    session = session_of(given.pop("prompt_cache_key", None), "prompt_cache_key")
    read = Wanted(
        model=model,
        items=_items(given.pop("input", None)),
        settings=settings,
        tools=_tools(given.pop("tools", ())),
        instructions=_text(given.pop("instructions", None), "instructions"),
        previous=_text(given.pop("previous_response_id", None), "previous_response_id"),
        stream=stream,
        background=background,
        store=store,
        sealed=sealed,
        echo=echo,
        unused=(*unused, *more),
        session=session,
    )
    _check_rest(given)
    return read


def _items(given: object) -> tuple[Fields, ...]:
    if isinstance(given, str):
        content = [{"type": "input_text", "text": given}]
        return ({"type": "message", "role": "user", "status": "completed", "content": content},)
    if not isinstance(given, list):
        raise invalid("input: expected a text, or a list of items", param="input", remedy='write "input": "…"')
    return tuple(given)


def _tools(given: object) -> tuple[Any, ...]:
    """Functions, which the SDK takes as they are."""
    if not isinstance(given, list | tuple):
        raise invalid("tools: expected a list of tools", param="tools")
    for at, tool in enumerate(given):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if kind != "function":
            where = f"tools[{at}].type"
            message = f"{where}: tools of type {kind!r} run at a provider and are not carried"
            remedy = "describe it as a function, and run it yourself"
            raise invalid(message, param=where, code="unsupported_parameter", remedy=remedy)
    return tuple(given)


def _put_text(settings: Fields, text: object) -> list[str]:
    """The answer's format, which is flat here; returns what is not used."""
    fields = _object(text, "text", frozenset({"format", "verbosity"}))
    if fields.get("format") is not None:
        known = frozenset({"type", "name", "schema", "strict", "description"})
        form = _object(fields["format"], "text.format", known)
        kind = form.pop("type", None)
        if kind == "json_schema" and not isinstance(form.get("schema"), Mapping):
            where = "text.format.schema"
            raise invalid(f"{where}: expected a JSON Schema", param=where, remedy="put it there, beside its name")
        settings["response_format"] = {"type": kind, "json_schema": form} if kind == "json_schema" else {"type": kind}
    return ["text.verbosity"] if fields.get("verbosity") is not None else []


def _put_reasoning(settings: Fields, reasoning: object) -> list[str]:
    """How much to reason; a summary is given wherever a model shows one, so the wish changes nothing."""
    of_summary = ("summary", "generate_summary")
    fields = _object(reasoning, "reasoning", frozenset({"effort", *of_summary, "context", "mode"}))
    if fields.get("effort") is not None:
        settings["reasoning_effort"] = fields["effort"]
    return [f"reasoning.{name}" for name in fields if name != "effort" and fields[name] is not None]


def _included(settings: Fields, include: object, top: object) -> tuple[bool, list[str]]:
    """Whether reasoning is to be sealed, and what is not used."""
    if not isinstance(include, list | tuple):
        raise invalid("include: expected a list", param="include")
    for name in include:
        if name not in (LOGPROBS, SEALED, *OF_TOOLS):
            known = ", ".join(sorted({LOGPROBS, SEALED, *OF_TOOLS}))
            raise invalid(f"include: {name!r} is none", param="include", remedy=f"use one of: {known}")
    if top is not None:
        settings["top_logprobs"] = top
    if LOGPROBS in include or top:
        settings["logprobs"] = True
    return SEALED in include, [f"include.{name}" for name in include if name in OF_TOOLS]


def _check_stream_options(options: object, *, stream: bool) -> None:
    if options is None:
        return
    if not stream:
        raise invalid("stream_options: they go with stream: true", param="stream_options", remedy="leave them out")
    _object(options, "stream_options", frozenset({"include_obfuscation"}))


def _check_metadata(given: object) -> None:
    if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
        raise invalid("metadata: expected an object of strings", param="metadata")
    too_long = any(len(name) > LONGEST_NAME or len(value) > LONGEST_VALUE for name, value in given.items())
    if len(given) > MOST_METADATA or too_long:
        message = f"metadata: at most {MOST_METADATA} pairs, of {LONGEST_NAME} and {LONGEST_VALUE} characters"
        raise invalid(message, param="metadata", remedy="shorten it")


def _check_rest(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in NOT_HERE:
            raise invalid(f"{name}: {NOT_HERE[name]}", param=name, code="unsupported_parameter", remedy="leave it out")
        if name not in UNUSED:
            message = f"{name}: there is no such field"
            raise invalid(message, param=name, code="unknown_parameter", remedy="leave it out")


def _object(value: object, path: str, known: frozenset[str]) -> Fields:
    if not isinstance(value, Mapping):
        raise invalid(f"{path}: expected an object", param=path, code="invalid_type")
    for name in value:
        if name not in known:
            where = f"{path}.{name}"
            raise invalid(f"{where}: there is no such field", param=where, code="unknown_parameter")
    return dict(value)


def _text(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name}: expected a text", param=name, code="invalid_type")
    return value


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{name}: expected true or false, not {value!r}", param=name, code="invalid_type")
    return value

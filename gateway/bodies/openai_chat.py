"""OpenAI chat completions: the request's body, the completion, and the chunks of a stream.

After the OpenAI API reference, ``POST /v1/chat/completions``. Turns and tools are taken by the SDK as they are; a field
that is unknown is refused, as the API does, and one that is known and changes nothing here is told (``Asked.unused``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from gateway.bodies.asked import Asked
from gateway.bodies.failures import ApiError, invalid
from gateway.bodies.frames import Frame
from gateway.bodies.kinds import session_of, whole
from job_contracts.chat import Answer, FinishReason, TokenLogprob, Usage
from job_contracts.results import Result
from job_contracts.stream import Finished, Queued, ReasoningToken, Started, StreamEvent, Token, ToolCall

SETTINGS = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning_budget",
        "logprobs",
        "top_logprobs",
    }
)
"""Fields that are generation settings, under the same name in the SDK; ``top_k`` and ``reasoning_budget`` are ours."""
UNUSED = frozenset(
    {"user", "safety_identifier", "metadata", "store", "service_tier", "prompt_cache_retention", "verbosity"}
)
"""Fields that a program may send and that change nothing here."""
NOT_HERE = {
    "functions": "use tools",
    "function_call": "use tool_choice",
    "logit_bias": "no provider-neutral form of it exists",
    "audio": "spoken answers are not carried",
    "prediction": "predicted outputs are not carried",
    "web_search_options": "searches that run at a provider are not carried",
}
"""Fields of the API that would change the answer and cannot be carried: refused, never dropped."""
_DONE = Frame(b"[DONE]")
_FINISH = {FinishReason.ERROR: "stop"}


def asked(body: Mapping[str, Any]) -> Asked:
    """What a body asks for. Raises ``Failed`` with 400 naming the field."""
    given = {name: value for name, value in body.items() if value is not None}
    model, messages = given.pop("model", None), given.pop("messages", None)
    if not isinstance(model, str) or not model:
        raise invalid("model: expected the name of a route", param="model", remedy="GET /v1/models lists them")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: expected a list of at least one message", param="messages")
    tools = given.pop("tools", ())
    stream = _flag(given.pop("stream", False), "stream")
    wanted = given.pop("n", 1)
    n = whole(wanted)
    if n is None:
        raise invalid(f"n: expected a whole number, not {wanted!r}", param="n")
    modalities = given.pop("modalities", ["text"])
    if modalities != ["text"]:
        raise invalid("modalities: only text is answered", param="modalities", code="unsupported_parameter")
    usage_wanted = _usage_wanted(given.pop("stream_options", None), stream=stream)
    session = session_of(given.pop("prompt_cache_key", None), "prompt_cache_key")
    unused = sorted(name for name in given if name in UNUSED)
    for name in unused:
        del given[name]
    for name in given:
        if name in NOT_HERE:
            raise invalid(f"{name}: {NOT_HERE[name]}", param=name, code="unsupported_parameter", remedy="leave it out")
        if name not in SETTINGS:
            raise invalid(
                f"{name}: there is no such field", param=name, code="unknown_parameter", remedy="leave it out"
            )
    return Asked(
        model=model,
        messages=messages,
        tools=tools,
        settings=given,
        stream=stream,
        n=n,
        usage_wanted=usage_wanted,
        unused=tuple(unused),
        session=session,
    )


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{name}: expected true or false, not {value!r}", param=name)
    return value


def _usage_wanted(options: Any, *, stream: bool) -> bool:
    if options is None:
        return False
    if not stream:
        raise invalid("stream_options: they go with stream: true", param="stream_options", remedy="leave them out")
    if not isinstance(options, dict):
        raise invalid("stream_options: expected an object", param="stream_options")
    for name in options:
        if name not in {"include_usage", "include_obfuscation"}:
            where = f"stream_options.{name}"
            raise invalid(f"{where}: there is no such field", param=where, code="unknown_parameter")
    return _flag(options.get("include_usage") or False, "stream_options.include_usage")


# -- the answer


def completion(asked: Asked, results: Sequence[Result]) -> dict[str, Any]:
    """A ``chat.completion`` object of one answer, or of several."""
    first = results[0]
    return {
        "id": f"chatcmpl-{first.job}",
        "object": "chat.completion",
        "created": int(first.times.submitted),
        "model": first.model or asked.model,
        "choices": [_choice(index, result) for index, result in enumerate(results)],
        "usage": usage([result.usage for result in results]),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _choice(index: int, result: Result) -> dict[str, Any]:
    answer = result.answer or Answer()
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.tool_calls
    ]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or (None if calls or answer.refusal else ""),
        "refusal": answer.refusal,
    }
    if calls:
        message["tool_calls"] = calls
    if reasoning := answer.reasoning:
        message["reasoning_content"] = reasoning
    message["annotations"] = [
        {
            "type": "url_citation",
            "url_citation": {
                "url": one.url,
                "title": one.title or "",
                "start_index": one.start or 0,
                "end_index": one.end or 0,
            },
        }
        for one in answer.citations
    ]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(answer.logprobs),
        "finish_reason": finish(result.finish_reason),
    }


def finish(reason: FinishReason | None) -> str:
    """The API's word for why an answer ended."""
    return "stop" if reason is None else _FINISH.get(reason, reason.value)


def _logprobs(found: Sequence[TokenLogprob]) -> dict[str, Any] | None:
    if not found:
        return None
    content = [
        {
            **_logprob(one.token, one.logprob),
            "top_logprobs": [_logprob(token, logprob) for token, logprob in one.top],
        }
        for one in found
    ]
    return {"content": content, "refusal": None}


def _logprob(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def usage(of: Iterable[Usage]) -> dict[str, Any]:
    """A ``usage`` object: the sum."""
    every = list(of)
    prompt, output = sum(one.input for one in every), sum(one.output for one in every)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": sum(one.cache_read for one in every), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sum(one.reasoning for one in every),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


# -- the stream


class Rendering:
    """A ``frames.Renderer`` for chunks of a chat completion. ``created``: UTC seconds, where its job does not say."""

    def __init__(self, asked: Asked, created: int) -> None:
        self._asked = asked
        self._created = [created] * asked.n
        self._heads = [b""] * asked.n
        """What every chunk of an answer begins with: answers are jobs of their own, and may have several models."""
        self._begun: set[int] = set()
        """Answers whose role was told."""
        self._tail = b',"usage":null}' if asked.usage_wanted else b"}"
        self._id = ""

    def event(self, index: int, event: StreamEvent) -> list[Frame]:
        """See ``Renderer``."""
        match event:
            case Token():
                kind = b"refusal" if event.refusal else b"content"
                return [*self._opened(index), self._delta(index, b'{"%b":%b}' % (kind, to_json(event.text)))]
            case ReasoningToken() if not event.text:
                return []  # a seal, for which this API has no place
            case ReasoningToken():
                return [*self._opened(index), self._delta(index, b'{"reasoning_content":%b}' % to_json(event.text))]
            case ToolCall():
                piece = self._delta(index, to_json({"tool_calls": [_piece(event)]}))
                return [*self._opened(index, b"null"), piece]
            case Started():
                self._named(index, event.model)
                return []
            case Finished():
                return self._finished(index, event.result)
            case Queued(submitted=float(moment)):
                self._created[index] = int(moment)  # the same on every edge that renders this stream
                return []
            case _:
                return []

    def begin(self, jobs: Sequence[str]) -> None:
        """See ``Renderer``: the completion is named after its first job."""
        self._id = f"chatcmpl-{jobs[0]}"

    def _named(self, index: int, model: str | None) -> None:
        if self._heads[index]:
            return
        head = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created[index],
            "model": model or self._asked.model,
            "service_tier": "default",
            "system_fingerprint": None,
        }
        self._heads[index] = to_json(head)[:-1]

    def _opened(self, index: int, content: bytes = b'""') -> list[Frame]:
        """The chunk with the role, before the first of an answer: its content is a text, or ``null`` before a call.

        A client that reads a text there opens a text, which an answer of calls alone would leave empty.
        """
        if index in self._begun:
            return []
        self._begun.add(index)
        self._named(index, None)
        return [self._delta(index, b'{"role":"assistant","content":%b,"refusal":null}' % content)]

    def _delta(self, index: int, delta: bytes, reason: bytes = b"null") -> Frame:
        return Frame(
            b'%b,"choices":[{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b'
            % (self._heads[index], index, delta, reason, self._tail)
        )

    def _finished(self, index: int, result: Result) -> list[Frame]:
        self._named(index, result.model)
        begun = self._opened(index)
        return [*begun, self._delta(index, b"{}", to_json(finish(result.finish_reason)))]

    def end(self, results: tuple[Result, ...]) -> list[Frame]:
        """See ``Renderer``."""
        if not self._asked.usage_wanted:
            return [_DONE]
        told = to_json(usage([result.usage for result in results]))
        return [Frame(b'%b,"choices":[],"usage":%b}' % (self._heads[0], told)), _DONE]

    def failed(self, error: ApiError) -> list[Frame]:
        """The API's way to fail within a stream: an ``error`` object in place of a chunk, and no ``[DONE]``."""
        return [Frame(to_json(error.body("openai", "")))]


def _piece(call: ToolCall) -> dict[str, Any]:
    piece: dict[str, Any] = {"index": call.index}
    function: dict[str, Any] = {}
    if call.id is not None:
        piece |= {"id": call.id, "type": "function"}
    if call.name is not None:
        function["name"] = call.name
    function["arguments"] = call.arguments
    return {**piece, "function": function}

"""Writing answers of OpenAI's Responses API: one body, or the typed events of a stream (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Frame, Refusal, Script, Stamp, ToolCall
from simulator.dialects.openai import errors
from simulator.dialects.openai.writing import logprob_rows
from simulator.meter import Usage
from simulator.words import digest

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_SEALED = "gAAAAA"

Item = dict[str, Any]


def sealed(thoughts: str) -> str:
    """Reasoning in its encrypted form: nobody can read it, and ``is_sealed`` knows it again."""
    inner = digest("reasoning", thoughts)[:24].hex()
    return f"{_SEALED}{inner}{digest('sealed', inner)[:16].hex()}"


def is_sealed(value: Any) -> bool:
    """Whether an encrypted form is one of this simulator's, and whole."""
    if not isinstance(value, str) or not value.startswith(_SEALED):
        return False
    inner, seal = value[len(_SEALED) : -32], value[-32:]
    return seal == digest("sealed", inner)[:16].hex()


def whole(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
    """The body of an answer that is not streamed."""
    return to_json(_finished(ask, answer, usage, stamp))


def script(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
    """The events of an answer that is streamed; the last one is the end, and there is no ``[DONE]``."""
    numbers = count()
    begun = _response(ask, stamp, "in_progress")
    opening = _event(numbers, "response.created", response=begun)
    opening += _event(numbers, "response.in_progress", response=begun)
    content: list[Frame] = []
    for index, item in enumerate(_items(ask, answer, stamp)):
        match item["type"]:
            case "reasoning":
                content += _reasoning_frames(numbers, index, item, answer)
            case "message":
                content += _message_frames(numbers, index, item, ask, answer)
            case _:
                content += _call_frames(numbers, index, item)
    finished = _finished(ask, answer, usage, stamp)
    return Script(opening, content, _event(numbers, f"response.{finished['status']}", response=finished), b"")


def text_event(text: str) -> bytes:
    """A delta with any text."""
    place = {"item_id": "msg_simulated", "output_index": 0, "content_index": 0}
    return _event(count(), "response.output_text.delta", **place, delta=text, logprobs=[])


def error_events(ask: Ask, refusal: Refusal, stamp: Stamp) -> bytes:
    """How a response fails on the way: what went wrong, and the response that has failed."""
    error = errors.described(refusal)
    failed = {**_response(ask, stamp, "failed"), "error": {"code": error["code"], "message": error["message"]}}
    numbers = count()
    return _event(numbers, "error", error=error) + _event(numbers, "response.failed", response=failed)


def _event(numbers: Iterator[int], kind: str, **fields: Any) -> bytes:
    body = to_json({"type": kind, "sequence_number": next(numbers), **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)


# -- the response


def _response(ask: Ask, stamp: Stamp, status: str) -> Item:
    """What every form of the response says; of the request it repeats what it has understood."""
    return {
        "id": f"resp_{stamp.serial}",
        "object": "response",
        "created_at": stamp.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": ask.model.base,
        "output": [],
        "previous_response_id": None,
        "usage": None,
        **(ask.responses or {}),
    }


def _finished(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Item:
    reason = _INCOMPLETE.get(answer.finish)
    return {
        **_response(ask, stamp, "incomplete" if reason else "completed"),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _items(ask, answer, stamp),
        "usage": {
            "input_tokens": usage.all_input,
            "input_tokens_details": {"cached_tokens": usage.cached_read},
            "output_tokens": usage.all_output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.all_input + usage.all_output,
        },
    }


def _items(ask: Ask, answer: Answer, stamp: Stamp) -> list[Item]:
    items: list[Item] = []
    if answer.thoughts:
        items.append(_reasoning(ask, answer, stamp))
    if answer.calls:
        items += [_call(call) for call in answer.calls]
    elif answer.pieces or not items:
        items.append(_message(ask, answer, stamp))
    return items


def _reasoning(ask: Ask, answer: Answer, stamp: Stamp) -> Item:
    thoughts = "".join(answer.thoughts)
    shown = [{"type": "summary_text", "text": thoughts}] if ask.show_reasoning else []
    item: Item = {"id": f"rs_{stamp.serial}", "type": "reasoning", "summary": shown}
    if ask.seal_reasoning:
        item["encrypted_content"] = sealed(thoughts)
    return item


def _message(ask: Ask, answer: Answer, stamp: Stamp) -> Item:
    rows = [] if ask.logprobs is None else logprob_rows(answer.pieces, ask.logprobs)
    part = {"type": "output_text", "annotations": [], "logprobs": rows, "text": answer.text}
    status = "incomplete" if answer.finish in _INCOMPLETE else "completed"
    return {"id": f"msg_{stamp.serial}", "type": "message", "status": status, "content": [part], "role": "assistant"}


def _call(call: ToolCall) -> Item:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed" if call.complete else "incomplete",
        "arguments": call.arguments,
        "call_id": f"call_{call.id}",
        "name": call.name,
    }


# -- the events of items


def _begun(numbers: Iterator[int], index: int, item: Item, **empty: Any) -> bytes:
    return _event(numbers, "response.output_item.added", output_index=index, item={**item, **empty})


def _done(numbers: Iterator[int], index: int, item: Item) -> bytes:
    return _event(numbers, "response.output_item.done", output_index=index, item=item)


def _reasoning_frames(numbers: Iterator[int], index: int, item: Item, answer: Answer) -> list[Frame]:
    frames = [Frame(_begun(numbers, index, item, summary=[]))]
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    if not item["summary"]:  # what is hidden takes its time all the same
        frames += [Frame(b"", 1)] * len(answer.thoughts)
        return [*frames, Frame(_done(numbers, index, item))]
    kind = "response.reasoning_summary"
    frames.append(Frame(_event(numbers, f"{kind}_part.added", **place, part={"type": "summary_text", "text": ""})))
    for thought in answer.thoughts:
        frames.append(Frame(_event(numbers, f"{kind}_text.delta", **place, delta=thought), 1))
    part = item["summary"][0]
    ending = _event(numbers, f"{kind}_text.done", **place, text=part["text"])
    ending += _event(numbers, f"{kind}_part.done", **place, part=part)
    return [*frames, Frame(ending + _done(numbers, index, item))]


def _message_frames(numbers: Iterator[int], index: int, item: Item, ask: Ask, answer: Answer) -> list[Frame]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    empty = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    opening = _begun(numbers, index, item, status="in_progress", content=[])
    opening += _event(numbers, "response.content_part.added", **place, part=empty)
    frames = [Frame(opening)]
    for piece in answer.pieces:
        rows = [] if ask.logprobs is None else logprob_rows([piece], ask.logprobs)
        delta = _event(numbers, "response.output_text.delta", **place, delta=piece, logprobs=rows)
        frames.append(Frame(delta, 1))
    part = item["content"][0]
    ending = _event(numbers, "response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"])
    ending += _event(numbers, "response.content_part.done", **place, part=part)
    return [*frames, Frame(ending + _done(numbers, index, item))]


def _call_frames(numbers: Iterator[int], index: int, item: Item) -> list[Frame]:
    place = {"item_id": item["id"], "output_index": index}
    kind = "response.function_call_arguments"
    frames = [Frame(_begun(numbers, index, item, status="in_progress", arguments=""), 1)]
    text = item["arguments"]
    pieces = (text[at : at + 4] for at in range(0, len(text), 4))
    frames.extend(Frame(_event(numbers, f"{kind}.delta", **place, delta=piece), 1) for piece in pieces)
    ending = _event(numbers, f"{kind}.done", **place, arguments=text)
    return [*frames, Frame(ending + _done(numbers, index, item))]

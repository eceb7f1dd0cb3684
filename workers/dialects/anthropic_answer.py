"""Answers in the form of Anthropic's messages: a stream of typed events, or one ``message`` read as if it were one."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import Citation, FinishReason, Usage
from job_contracts.failures import FailureKind
from workers.dialects.reading import Reader, count

_F = FinishReason


class MessageReader(Reader):
    """Reads one message. A stream is whole when ``message_stop`` came after a stop reason."""

    finish_words: ClassVar = {
        "end_turn": _F.STOP,
        "stop_sequence": _F.STOP,
        "pause_turn": _F.STOP,
        "max_tokens": _F.LENGTH,
        "model_context_window_exceeded": _F.LENGTH,
        "tool_use": _F.TOOL_CALLS,
        "refusal": _F.CONTENT_FILTER,
    }

    _stopped = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told: dict[str, Any] = {}
        self._inputs: dict[int, str] = {}  # arguments that came whole with their block, until pieces replace them
        self._cited: list[Any] = []  # sources of the block of text that is being written

    def _ended(self) -> bool:
        return self._stopped and bool(self.finish_raw)

    def _chunk(self, name: str, chunk: Any) -> None:
        kind = chunk.get("type")
        if kind == "content_block_delta":
            self._delta(chunk["index"], chunk["delta"])
        elif kind == "content_block_start":
            self._start(chunk["index"], chunk["content_block"])
        elif kind == "content_block_stop":
            self._stop(chunk["index"])
        elif kind == "message_start":
            self._message(chunk["message"])
        elif kind == "message_delta":
            self._stops(chunk["delta"])
            self._tell(chunk.get("usage"))
        elif kind == "message_stop":
            self._stopped = True
            self.end()
        elif kind == "message":
            self._message(chunk)
            self._stopped = True
        elif kind == "error" or chunk.get("error"):
            self.fail_as_told(chunk)
        elif name == "document":
            self.fail(FailureKind.MALFORMED_RESPONSE, "the answer is no message")

    def _message(self, message: Any) -> None:
        if self.draft.produced and self.draft.id != message.get("id"):
            self.fail(FailureKind.MALFORMED_RESPONSE, "another message begins before the first has ended")
            return
        self.model = str(message["model"]) if message.get("model") else None
        self.draft.id = str(message.get("id") or "")
        for index, block in enumerate(message.get("content") or ()):
            self._start(index, block)
            self._stop(index)
        self._stops(message)
        self._tell(message.get("usage"))

    def _stops(self, told: Any) -> None:
        if reason := told.get("stop_reason"):
            self.finish_raw = str(reason)
        if details := told.get("stop_details"):
            said = ": ".join(str(details[name]) for name in ("category", "explanation") if details.get(name))
            if said:
                self.lose("answer.stop_details", said)

    def _start(self, index: Any, block: Any) -> None:
        draft = self.draft
        kind = block["type"]
        draft.close()
        if kind == "text":
            draft.text(block.get("text") or "")
            self._cited += block.get("citations") or ()
        elif kind == "tool_use":
            draft.call(index, id=block.get("id"), name=block["name"])
            given = block.get("input")
            self._inputs[index] = to_json(given, inf_nan_mode="null").decode() if given else ""
        elif kind == "thinking":
            draft.reasoning(block.get("thinking") or "")
            if signature := block.get("signature"):
                draft.sign(signature)
        elif kind == "redacted_thinking":
            draft.redacted(block["data"])
        else:  # the provider's own tools at work
            self.lose("answer.content", f"a conversation has no place for blocks of type {kind}")

    def _delta(self, index: Any, delta: Any) -> None:
        kind = delta["type"]
        if kind == "text_delta":
            self.draft.text(delta["text"])
        elif kind == "input_json_delta":
            if index in self._inputs:
                piece = delta.get("partial_json") or ""
                if piece:
                    self._inputs[index] = ""
                self.draft.arguments(index, piece)
        elif kind == "thinking_delta":
            self.draft.reasoning(delta.get("thinking") or "")
        elif kind == "signature_delta":
            self.draft.sign(delta["signature"])
        elif kind == "citations_delta":
            self._cited.append(delta.get("citation"))

    def _stop(self, index: Any) -> None:
        if index in self._inputs:
            self.draft.arguments(index, self._inputs.pop(index))
        if self._cited:
            self._cite_block()
        self.draft.close()

    def _cite_block(self) -> None:
        """The sources of a block of text stand for the whole of it."""
        end = len(self.draft.text_so_far)
        start = end - self.draft.open_text
        for told in self._cited:
            if not isinstance(told, dict):
                self.lose("answer.citations", "they are not of the documented form")
                continue
            cited = Citation(url=_address(told), title=_title(told), start=start, end=end)
            if cited not in self.draft.citations:
                self.draft.citations.append(cited)
        self._cited = []

    def _tell(self, usage: Any) -> None:
        """Usage comes at the start and again, cumulative, at the end: what is said later stands."""
        if usage:
            self.told_usage = self._told
            self._told.update({key: value for key, value in usage.items() if value is not None})

    def _read_usage(self, told: Any) -> Usage:
        read, wrote = count(told.get("cache_read_input_tokens")), count(told.get("cache_creation_input_tokens"))
        kept = told.get("cache_creation") or {}
        hour = count(kept.get("ephemeral_1h_input_tokens"))
        wrote = wrote or hour + count(kept.get("ephemeral_5m_input_tokens"))
        details = told.get("output_tokens_details") or {}
        return Usage(
            input=count(told.get("input_tokens")) + read + wrote,  # told without what came from or went to the cache
            output=count(told.get("output_tokens")),
            cache_read=read,
            cache_write=wrote,
            cache_write_1h=min(hour, wrote),
            reasoning=count(details.get("thinking_tokens")),
        )


def _address(told: Any) -> str:
    """Where a source is found: on the web, or as a place in a document of the conversation, which has no address."""
    if address := told.get("url") or told.get("source"):
        return str(address)
    place = f"document:{count(told.get('document_index'))}"
    for word, first, last in _PLACES:
        if told.get(first) is not None:
            return f"{place}#{word}={count(told[first])},{count(told.get(last))}"
    return place


_PLACES = (
    ("page", "start_page_number", "end_page_number"),
    ("char", "start_char_index", "end_char_index"),
    ("block", "start_block_index", "end_block_index"),
)


def _title(told: Any) -> str | None:
    title = told.get("title") or told.get("document_title")
    return str(title) if title else None

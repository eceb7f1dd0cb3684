"""Answers of Bedrock's Converse: frames of typed events, or one document read as if it were one.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html. A stream is whole when
``messageStop`` came; ``metadata`` with the usage comes after it and is waited for.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic_core import to_json

from job_contracts.chat import Citation, FinishReason, Usage
from job_contracts.failures import FailureKind
from workers.dialects.bedrock_messages import AS_IT_IS
from workers.dialects.eventstream import BROKEN, EXCEPTION, MEDIA_TYPE, TOO_LARGE, Frames
from workers.dialects.reading import Reader, count
from workers.dialects.sse import MAX_EVENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.dialects.sse import Events

_F = FinishReason

STATUS_OF: dict[str, int] = {
    "validationexception": 400,
    "accessdeniedexception": 403,
    "resourcenotfoundexception": 404,
    "modeltimeoutexception": 408,
    "throttlingexception": 429,
    "modelnotreadyexception": 429,
    "internalserverexception": 500,
    "serviceunavailableexception": 503,
}
"""The status an exception has where it is an answer of its own; in a stream it comes without one."""


class ConverseReader(Reader):
    """Reads one answer."""

    finish_words: ClassVar = {
        "end_turn": _F.STOP,
        "stop_sequence": _F.STOP,
        "max_tokens": _F.LENGTH,
        "model_context_window_exceeded": _F.LENGTH,
        "tool_use": _F.TOOL_CALLS,
        "guardrail_intervened": _F.CONTENT_FILTER,
        "content_filtered": _F.CONTENT_FILTER,
        "refusal": _F.CONTENT_FILTER,
    }
    failed_words: ClassVar = {
        "malformed_model_output": FailureKind.MODEL_OUTPUT_INVALID,
        "malformed_tool_use": FailureKind.MODEL_OUTPUT_INVALID,
    }

    _stopped = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._block: Any = None
        self._uncited = 0
        self._opaque: dict[Any, list[str]] = {}  # redacted reasoning, by block: it may come in pieces

    def _begins_stream(self, data: bytes) -> bool:
        """A frame begins with the first byte of its length, which is zero; no JSON document does."""
        if data[0] == 0 or (self._media == MEDIA_TYPE and data[0] not in b"{[<"):
            return True
        self._is_document = True
        return False

    def _framing(self) -> Events:
        return cast("Events", Frames(min(MAX_EVENT, self._max_bytes)))

    def _ended(self) -> bool:
        return self._stopped and bool(self.finish_raw)

    def _chunk(self, name: str, chunk: Any) -> None:
        if name == "contentBlockDelta":
            self._delta(chunk["contentBlockIndex"], chunk["delta"])
        elif name == "contentBlockStart":
            self._start(chunk["contentBlockIndex"], chunk.get("start") or {})
        elif name == "contentBlockStop":
            self._stop(chunk["contentBlockIndex"])
        elif name == "messageStop":
            self._finished(chunk)
        elif name == "metadata":
            self._told(chunk)
            if self._stopped:
                self.end()
        elif name == "document":
            self._document(chunk)
        elif name.startswith(EXCEPTION):
            self._exception(name.removeprefix(EXCEPTION), chunk)
        elif name == BROKEN:
            self.fail(FailureKind.MALFORMED_RESPONSE, f"the stream is damaged: {chunk['message']}")
        elif name == TOO_LARGE:
            self.fail(FailureKind.RESPONSE_TOO_LARGE, f"an event of the stream is too large: {chunk['message']}")
        # messageStart says who speaks; other events are of a later version of the protocol.

    def _document(self, answer: Any) -> None:
        output = answer.get("output")
        if output is None:
            # What AWS says under a status of 200 is an error in the form of any other.
            if answer.get("message") or answer.get("Message") or answer.get("__type"):
                self.fail_as_told({**answer, "code": answer.get("__type") or answer.get("code") or ""})
            else:
                self.fail(FailureKind.MALFORMED_RESPONSE, "the answer is no message")
            return
        for index, block in enumerate(output["message"]["content"]):
            self._whole(index, block)
        self._told(answer)
        self._finished(answer)

    def _told(self, told: Any) -> None:
        """The usage, and which model answered where a router chose it."""
        self.told_usage = told.get("usage") or self.told_usage
        routed = (told.get("trace") or {}).get("promptRouter") or {}
        if model := routed.get("invokedModelId"):
            self.model = str(model)

    def _finished(self, told: Any) -> None:
        self.finish_raw = str(told["stopReason"])
        self._stopped = True

    def _exception(self, kind: str, told: Any) -> None:
        said: dict[str, Any] = {"code": kind, "message": told.get("message") or told.get("Message") or ""}
        if status := STATUS_OF.get(kind.lower()):
            said["status"] = status
        if told.get("originalMessage"):
            said["detail"] = told["originalMessage"]
        self.fail_as_told(said)

    # -- blocks in pieces

    def _start(self, index: Any, start: Any) -> None:
        self._turn_to(index)
        call = start.get("toolUse")
        if call and self._is_for_the_producer(call):
            self.draft.call(index, id=call.get("toolUseId"), name=call["name"])
        elif call is None:
            self._leave_out(start)

    def _delta(self, index: Any, delta: Any) -> None:
        if index != self._block:
            self._turn_to(index)
        if (text := delta.get("text")) is not None:
            self.draft.text(text)
        elif (call := delta.get("toolUse")) is not None:
            if self.draft.has_call(index):
                self.draft.arguments(index, call.get("input") or "")
        elif (reasoning := delta.get("reasoningContent")) is not None:
            self._reasoning(index, reasoning)
        elif (cited := delta.get("citation")) is not None:
            self._cite(cited)

    def _reasoning(self, index: Any, piece: Any) -> None:
        if text := piece.get("text"):
            self.draft.reasoning(text)
        if signature := piece.get("signature"):
            self.draft.sign(signature)
        if data := piece.get("redactedContent"):
            self._opaque.setdefault(index, []).append(data)

    def _stop(self, index: Any) -> None:
        if pieces := self._opaque.pop(index, None):
            data = b"".join([b64decode(piece) for piece in pieces])
            try:
                self.draft.redacted(data.decode())  # what the model's maker calls its data, good at the maker's too
            except UnicodeDecodeError:
                self.draft.redacted(AS_IT_IS + b64encode(data).decode())
        self.draft.close()

    def _turn_to(self, index: Any) -> None:
        """A new block begins; of a block that never began all is told by its pieces."""
        self._block = index
        self.draft.close()

    # -- blocks in one piece

    def _whole(self, index: int, block: Any) -> None:
        self._turn_to(index)
        draft = self.draft
        if (text := block.get("text")) is not None:
            draft.text(text)
        elif (call := block.get("toolUse")) is not None:
            if self._is_for_the_producer(call):
                draft.call(index, id=call.get("toolUseId"), name=call["name"])
                draft.arguments(index, to_json(call.get("input") or {}, inf_nan_mode="null").decode())
        elif (reasoning := block.get("reasoningContent")) is not None:
            shown = reasoning.get("reasoningText") or {}
            self._reasoning(index, {**shown, "redactedContent": reasoning.get("redactedContent")})
        elif (cited := block.get("citationsContent")) is not None:
            for piece in cited.get("content") or ():
                draft.text(piece.get("text") or "")
            for citation in cited.get("citations") or ():
                self._cite(citation)
        else:
            self._leave_out(block)
        self._stop(index)

    def _is_for_the_producer(self, call: Any) -> bool:
        """Whether a call is to be answered; those of the provider's own tools are answered where they are made."""
        if call.get("type") != "server_tool_use":
            return True
        self.lose("answer.content", f"a conversation has no place for calls of the provider's own tool {call['name']}")
        return False

    def _leave_out(self, block: Any) -> None:
        if block:
            self.lose("answer.content", f"a conversation has no place for blocks of {', '.join(sorted(block))}")

    def _cite(self, citation: Any) -> None:
        """A source with an address becomes a citation; that of a document given by the producer has none."""
        web = (citation.get("location") or {}).get("web") or {}
        url = web.get("url") or citation.get("source")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            title = citation.get("title")
            self.draft.citations.append(Citation(url=url, title=title if isinstance(title, str) else None))
        else:
            self._uncited += 1

    def _citations(self) -> Sequence[Citation]:
        if self._uncited:
            self.lose("answer.citations", f"{self._uncited} of documents of the conversation: they have no address")
        return ()

    def _read_usage(self, told: Any) -> Usage:
        read, wrote = count(told.get("cacheReadInputTokens")), count(told.get("cacheWriteInputTokens"))
        hour = sum(count(d.get("inputTokens")) for d in told.get("cacheDetails") or () if d.get("ttl") == "1h")
        return Usage(
            input=count(told.get("inputTokens")) + read + wrote,  # told without what came from or went to the cache
            output=count(told.get("outputTokens")),
            cache_read=read,
            cache_write=wrote,
            cache_write_1h=min(hour, wrote),
        )

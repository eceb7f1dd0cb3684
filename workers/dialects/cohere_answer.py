"""Answers in the form of Cohere's chat: a stream of typed events, or one message read as if it were one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import Citation, FinishReason, TokenLogprob, Usage
from job_contracts.failures import FailureKind
from workers.dialects.reading import WRONG_SHAPE, Reader, count

if TYPE_CHECKING:
    from collections.abc import Sequence

_F, _K = FinishReason, FailureKind
_NOTHING: dict[str, Any] = {}


class CohereReader(Reader):
    """Reads one message. It is whole when ``message-end`` came with a finish reason.

    The ``tool_plan`` before calls is neither text nor shown reasoning: it is kept as an opaque part, good for the
    family it came from, so that the next turn can bring it back.
    """

    finish_words: ClassVar = {
        "COMPLETE": _F.STOP,
        "STOP_SEQUENCE": _F.STOP,
        "MAX_TOKENS": _F.LENGTH,
        "TOOL_CALL": _F.TOOL_CALLS,
        "ERROR_TOXIC": _F.CONTENT_FILTER,
    }
    failed_words: ClassVar = {
        "ERROR": _K.SERVER_ERROR,
        "TIMEOUT": _K.SERVER_ERROR,
        "USER_CANCEL": _K.SERVER_ERROR,
        "ERROR_LIMIT": _K.CONTEXT_OVERFLOW,
    }
    unknown_finish = _F.ERROR

    _stopped = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._plan: list[str] = []
        self._texts: dict[Any, int] = {}  # characters of each text by its place among the contents
        self._cited: list[Any] = []

    def _ended(self) -> bool:
        return self._stopped and bool(self.finish_raw)

    def _chunk(self, name: str, chunk: Any) -> None:
        kind = chunk.get("type")
        if kind == "content-delta":
            self._content(chunk["index"], chunk["delta"]["message"]["content"])
            if logprobs := chunk.get("logprobs"):
                self._read_logprobs(logprobs)
        elif kind == "tool-call-delta":
            function = chunk["delta"]["message"]["tool_calls"]["function"]
            self.draft.arguments(chunk["index"], function.get("arguments") or "")
        elif kind == "tool-plan-delta":
            self._more_plan(chunk["delta"]["message"].get("tool_plan") or "")
        elif kind == "content-start":
            self.draft.close()
            self._content(chunk["index"], chunk["delta"]["message"].get("content") or _NOTHING)
        elif kind == "tool-call-start":
            self._call(chunk["index"], chunk["delta"]["message"]["tool_calls"])
        elif kind == "citation-start":
            self._cited.append(chunk["delta"]["message"].get("citations"))
        elif kind == "message-start":
            self.draft.id = str(chunk.get("id") or "")
        elif kind == "message-end":
            self._finish(chunk["delta"])
            self.end()
        elif "message" in chunk and "finish_reason" in chunk:
            self._document(chunk)
        elif name in {"document", "error"} or chunk.get("error") or "message" in chunk:
            self._no_answer(chunk)
        # Others (content-end, tool-call-end, citation-end, debug) tell nothing that is not known.

    def _no_answer(self, chunk: Any) -> None:
        if chunk.get("error") or "message" in chunk or "error_type" in chunk:
            self.fail_as_told(chunk)
        else:
            self.fail(_K.MALFORMED_RESPONSE, "the answer is no message")

    def _document(self, chunk: Any) -> None:
        message = chunk["message"]
        self.draft.id = str(chunk.get("id") or "")
        if plan := message.get("tool_plan"):
            self._more_plan(plan)
        for index, block in enumerate(message.get("content") or ()):
            self.draft.close()
            self._content(index, block)
        for index, call in enumerate(message.get("tool_calls") or ()):
            self._call(index, call)
        self._cited += message.get("citations") or ()
        if logprobs := chunk.get("logprobs"):
            for one in logprobs:
                self._read_logprobs(one)
        self._finish(chunk)

    def _content(self, index: Any, content: Any) -> None:
        """A block or a piece of one: text and thinking are told apart by the field they stand in."""
        if self._plan:
            self._keep_plan()
        if text := content.get("text"):
            self.draft.text(text)
            self._texts[index] = self._texts.get(index, 0) + len(text)
        if thinking := content.get("thinking"):
            self.draft.reasoning(thinking)

    def _more_plan(self, piece: str) -> None:
        if not isinstance(piece, str):
            raise TypeError("a piece of a plan is not a string")
        self._plan.append(piece)
        self.draft.characters += len(piece)

    def _keep_plan(self) -> None:
        plan, self._plan = "".join(self._plan), []
        if plan:
            self.draft.redacted(plan)
            self.losses.add(
                "converted", "answer.tool_plan", "the plan of the calls is kept as an opaque part for the next turn"
            )

    def _call(self, index: Any, call: Any) -> None:
        if self._plan:
            self._keep_plan()
        function = call["function"]
        self.draft.call(index, id=call.get("id"), name=function["name"])
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = to_json(arguments, inf_nan_mode="null").decode()
        self.draft.arguments(index, arguments or "")

    def _finish(self, told: Any) -> None:
        if self._plan:
            self._keep_plan()
        self._stopped = True
        if usage := told.get("usage"):
            self.told_usage = usage
        if reason := told.get("finish_reason"):
            self.finish_raw = str(reason)
        if told.get("error"):
            self.fail_as_told({"message": told["error"], "error_type": told.get("error_type") or reason})

    def _read_logprobs(self, told: Any) -> None:
        """Pieces of text with the log probabilities of their tokens; a piece of several has their sum."""
        each = told["logprobs"]
        if len(each) > 1:
            self.losses.add("merged", "answer.logprobs", "tokens that came as one piece of text are one")
        self.draft.logprobs.append(TokenLogprob(token=told.get("text") or "", logprob=sum(each)))

    def _read_usage(self, told: Any) -> Usage:
        """``tokens`` is what the model saw and wrote; ``billed_units``, which leaves the provider's own prompt out,
        stands in where it is missing.
        """
        tokens = told.get("tokens") or told.get("billed_units") or _NOTHING
        if not tokens:
            raise ValueError("an account without tokens is none")
        return Usage(
            input=count(tokens.get("input_tokens")),
            output=count(tokens.get("output_tokens")),
            cache_read=count(told.get("cached_tokens")),
            reasoning=count(tokens.get("reasoning_tokens")),
        )

    def _citations(self) -> Sequence[Citation]:
        """Sources that have an address; places counted from the beginning of a content become those of the text."""
        text = self.draft.text_so_far
        found: dict[Citation, None] = {}
        without = 0
        for told in self._cited:
            try:
                places = self._places(told, text)
                sources = [_source(source) for source in told.get("sources") or ()]
                named = [Citation(**source, **places) for source in sources if source]
            except WRONG_SHAPE:
                named = []
            without += not named
            found.update(dict.fromkeys(named))
        if without:
            self.losses.add("dropped", "answer.citations", f"{without} of them name no source with an address")
        return tuple(found)

    def _places(self, told: Any, text: str) -> dict[str, Any]:
        if told.get("type") not in {None, "TEXT_CONTENT"}:
            return {}
        content = told.get("content_index") or 0
        before = sum(length for index, length in self._texts.items() if index < content)
        start, end = before + told["start"], before + told["end"]
        return {"start": start, "end": end} if text[start:end] == told.get("text") else {}


def _source(source: Any) -> dict[str, Any] | None:
    """Address and title of a source, which is a document or what a tool gave."""
    data = source.get("document") or source.get("tool_output") or _NOTHING
    for url in (data.get("url"), data.get("id"), source.get("id")):
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            title = data.get("title")
            return {"url": url, "title": title if isinstance(title, str) else None}
    return None

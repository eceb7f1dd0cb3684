"""Answers in the form of Gemini's generateContent: every chunk of a stream has the form of the whole answer."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import Citation, FinishReason, TokenLogprob, Usage
from job_contracts.failures import FailureKind
from workers.dialects.reading import Reader, count

if TYPE_CHECKING:
    from collections.abc import Sequence

_F, _K = FinishReason, FailureKind


class ContentReader(Reader):
    """Reads one generated content. It is whole when a candidate has a finish reason."""

    finish_words: ClassVar = {
        "STOP": _F.STOP,
        "MAX_TOKENS": _F.LENGTH,
        "CONTINUATION": _F.LENGTH,  # the request's own bound: the rest is to be had with another request
        **dict.fromkeys(
            (
                "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
                "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "ESCALATION",
            ),
            _F.CONTENT_FILTER,
        ),
    }  # fmt: skip
    failed_words: ClassVar = {
        **dict.fromkeys(
            (
                "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
                "MISSING_THOUGHT_SIGNATURE",
            ),
            _K.MODEL_OUTPUT_INVALID,
        ),
        "PUP_LIMITED_DISABLED": _K.PERMISSION,  # the account was limited for what it asked before
        **dict.fromkeys(("OTHER", "IMAGE_OTHER", "NO_IMAGE", "FINISH_REASON_UNSPECIFIED"), _K.SERVER_ERROR),
    }  # fmt: skip
    unknown_finish = FinishReason.ERROR
    _numbers: ClassVar = {"1": "STOP", "2": "MAX_TOKENS", "3": "SAFETY", "4": "RECITATION"}
    """Words by the numbers that stand for them where a proxy asks for ``enum-encoding=int``; beyond these the two
    clouds count differently."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls = 0
        self._growing: dict[str, Any] | None = None  # arguments of a call that comes in pieces
        self._sources: list[Any] = []
        self._grounding: Any = None

    def _chunk(self, name: str, chunk: Any) -> None:
        if chunk.get("error"):
            self.fail_as_told(chunk)
            return
        if usage := chunk.get("usageMetadata"):
            self.told_usage = usage
        if not self.draft.id and (response := chunk.get("responseId")):
            self.draft.id = str(response)
        if self.model is None and (model := chunk.get("modelVersion")):
            self.model = str(model)
        candidates = chunk.get("candidates")
        if candidates:
            self._candidate(candidates[0])
        elif reason := (chunk.get("promptFeedback") or {}).get("blockReason"):
            self.fail(_K.CONTENT_POLICY, f"the prompt was blocked: {reason}", code=str(reason))
        elif name == "document" and not self.told_usage:
            self.fail(_K.MALFORMED_RESPONSE, "the answer has no candidates")

    def _candidate(self, candidate: Any) -> None:
        content = candidate.get("content")
        if content:
            for part in content.get("parts") or ():
                self._part(part)
        if reason := candidate.get("finishReason"):
            self.finish_raw = self._numbers.get(str(reason), str(reason))
            self._close_growing()
        if found := candidate.get("logprobsResult"):
            self._read_logprobs(found)
        if found := candidate.get("citationMetadata"):
            self._sources += found.get("citationSources") or found.get("citations") or ()
        if found := candidate.get("groundingMetadata"):
            self._grounding = found  # told again as it grows

    def _meaning(self, raw: str | None) -> FinishReason | FailureKind:
        """A call nobody offered, or one too many, is what the model said: the producer can answer it as it is."""
        if raw in _CALLED and self.draft.calls:
            return FinishReason.ERROR
        return super()._meaning(raw)

    def _part(self, part: Any) -> None:
        draft = self.draft
        signature = part.get("thoughtSignature")
        call = part.get("functionCall")
        if call is not None:  # an empty one closes a call that came in pieces
            self._call(call, signature)
            return
        text = part.get("text")
        if text:
            if part.get("thought"):
                draft.reasoning(text)
            else:
                draft.text(text)
        elif text is None and (others := part.keys() - _SAID):
            self.lose("answer.content", f"a conversation has no place for parts of {', '.join(sorted(others))}")
        if signature:
            draft.sign(signature)

    def _call(self, call: Any, signature: Any) -> None:
        """A call comes whole, or (``willContinue``) as a name followed by pieces that name a path and a value each."""
        draft = self.draft
        if call.get("name"):
            self._close_growing()
            self._calls += 1
            draft.call(self._calls, id=call.get("id"), name=call["name"], signature=signature)
            if call.get("willContinue") or call.get("partialArgs"):
                self._growing = {}
            else:
                draft.arguments(self._calls, to_json(call.get("args") or {}, inf_nan_mode="null").decode())
                return
        if self._growing is None:
            return
        for piece in call.get("partialArgs") or ():
            _grow(self._growing, piece)
        if not call.get("willContinue"):
            self._close_growing()

    def _close_growing(self) -> None:
        if self._growing is not None:
            self.draft.arguments(self._calls, to_json(self._growing, inf_nan_mode="null").decode())
            self._growing = None

    def _citations(self) -> Sequence[Citation]:
        """Places are told in bytes of the text, ours are characters: found when all of it is there."""
        if not self._sources and self._grounding is None:
            return ()
        text = self.draft.text_so_far.encode()
        found: list[Citation | None] = []
        for source in self._sources:
            end = source.get("endIndex")
            placed = None if end is None else (_characters(text, source.get("startIndex")), _characters(text, end))
            found.append(_citation(source.get("uri"), source.get("title"), placed))
        chunks = (self._grounding or {}).get("groundingChunks") or ()
        supported: set[int] = set()
        for support in (self._grounding or {}).get("groundingSupports") or ():
            placed = _segment(text, support.get("segment") or {})
            for at in support.get("groundingChunkIndices") or ():
                if 0 <= at < len(chunks):
                    supported.add(at)
                    found.append(_of_chunk(chunks[at], placed))
        found += [_of_chunk(chunk, None) for at, chunk in enumerate(chunks) if at not in supported]
        return list(dict.fromkeys(cited for cited in found if cited is not None))

    def _read_usage(self, told: Any) -> Usage:
        thoughts = count(told.get("thoughtsTokenCount"))
        return Usage(
            input=count(told.get("promptTokenCount")) + count(told.get("toolUsePromptTokenCount")),
            output=count(told.get("candidatesTokenCount")) + thoughts,
            cache_read=count(told.get("cachedContentTokenCount")),
            reasoning=thoughts,
        )

    def _read_logprobs(self, found: Any) -> None:
        tops = found.get("topCandidates") or ()
        for at, chosen in enumerate(found.get("chosenCandidates") or ()):
            others = (tops[at].get("candidates") or ()) if at < len(tops) else ()
            self.draft.logprobs.append(
                TokenLogprob(
                    token=chosen["token"],
                    logprob=chosen["logProbability"],
                    top=tuple((other["token"], other["logProbability"]) for other in others),
                )
            )


_CALLED = frozenset({"UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"})
_SAID = frozenset({"text", "thought", "thoughtSignature", "functionCall", "partMetadata", "videoMetadata"})
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\['([^']*)'\]")


def _grow(arguments: dict[str, Any], piece: Any) -> None:
    """Put a piece (``{"jsonPath": "$.a[0].b", "stringValue": "x"}``) into the arguments; strings grow at their end."""
    steps: list[str | int] = [
        int(index) if index else name or quoted for name, index, quoted in _STEP.findall(piece["jsonPath"])
    ]
    value = next((piece[kind] for kind in _VALUES if kind in piece), None)
    if not steps or isinstance(steps[0], int):
        raise ValueError("a piece of arguments without a place in an object")
    place: Any = arguments
    for step, following in pairwise(steps):
        fresh: Any = [] if isinstance(following, int) else {}
        if isinstance(place, list):
            if step == len(place):
                place.append(fresh)
            place = place[int(step)]
        else:
            place = place.setdefault(step, fresh)
    last = steps[-1]
    if isinstance(place, list):
        if last == len(place):
            place.append(value)
        else:
            place[int(last)] = _extended(place[int(last)], value)
    else:
        place[last] = _extended(place.get(last), value)


def _of_chunk(chunk: Any, placed: tuple[int, int] | None) -> Citation | None:
    """A chunk is of the web, of a store of documents, or of maps."""
    found = next((one for one in chunk.values() if isinstance(one, dict)), {})
    return _citation(found.get("uri") or found.get("documentName"), found.get("title"), placed)


def _citation(address: Any, title: Any, placed: tuple[int, int] | None) -> Citation | None:
    if not address:
        return None
    start, end = placed or (None, None)
    return Citation(url=str(address), title=str(title) if title else None, start=start, end=end)


def _characters(text: bytes, place: Any) -> int:
    """Characters before a place that is told in bytes."""
    return len(text[: count(place)].decode("utf-8", "ignore"))


def _segment(text: bytes, told: Any) -> tuple[int, int] | None:
    """Characters of the answer's text that a segment is. Its words outweigh its figures, which count within a part."""
    said = told.get("text")
    start, end = count(told.get("startIndex")), count(told.get("endIndex"))
    if isinstance(said, str) and said and text[start:end] != said.encode():
        whole = text.decode()
        at = whole.find(said)
        return (at, at + len(said)) if at >= 0 else None
    return (_characters(text, start), _characters(text, end)) if end else None


_VALUES = ("stringValue", "numberValue", "boolValue")


def _extended(before: Any, value: Any) -> Any:
    return before + value if isinstance(before, str) and isinstance(value, str) else value

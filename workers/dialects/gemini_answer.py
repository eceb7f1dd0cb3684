"""Answers in the form of Gemini's generateContent: every chunk of a stream has the form of the whole answer."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import FinishReason, TokenLogprob, Usage
from job_contracts.failures import FailureKind
from workers.dialects.reading import Reader, count

_F, _K = FinishReason, FailureKind


class ContentReader(Reader):
    """Reads one generated content. It is whole when a candidate has a finish reason."""

    finish_words: ClassVar = {
        "STOP": _F.STOP,
        "MAX_TOKENS": _F.LENGTH,
        **dict.fromkeys(
            (
                "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
                "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
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
        **dict.fromkeys(("OTHER", "IMAGE_OTHER", "NO_IMAGE", "FINISH_REASON_UNSPECIFIED"), _K.SERVER_ERROR),
    }  # fmt: skip
    unknown_finish = FinishReason.ERROR

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls = 0
        self._growing: dict[str, Any] | None = None  # arguments of a call that comes in pieces

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
            self.finish_raw = str(reason)
            self._close_growing()
        if found := candidate.get("logprobsResult"):
            self._read_logprobs(found)

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


_VALUES = ("stringValue", "numberValue", "boolValue")


def _extended(before: Any, value: Any) -> Any:
    return before + value if isinstance(before, str) and isinstance(value, str) else value

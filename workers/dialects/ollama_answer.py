"""Answers in the form of Ollama's chat: a line of JSON for every piece, or one object that is all pieces in one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import FinishReason, TokenLogprob, Usage
from job_contracts.failures import FailureKind
from job_contracts.results import Loss
from workers.dialects.ndjson import BLANK, Lines
from workers.dialects.port import Decoded
from workers.dialects.reading import Reader, count
from workers.dialects.sse import MAX_EVENT, Events

_F, _K = FinishReason, FailureKind


class OllamaReader(Reader):
    """Reads one answer. It is whole when a piece says ``done``; what it is called by its header does not matter."""

    finish_words: ClassVar = {"stop": _F.STOP, "length": _F.LENGTH}
    failed_words: ClassVar = {
        # The model was only loaded, or thrown out of memory: nothing was answered.
        "load": _K.SERVER_ERROR,
        "unload": _K.SERVER_ERROR,
    }

    _by_lines = False
    _stopped = False

    def __init__(self, target: Any, quirks: Any, **options: Any) -> None:
        super().__init__(target, quirks, **options)
        self._window = quirks.num_ctx or target.model.context_window or 0

    def _begins_stream(self, data: bytes) -> bool:
        """A plain answer is a stream of one line: objects need no telling apart."""
        if data.lstrip(BLANK)[:1] == b"{":
            self._by_lines = True
            return True
        return super()._begins_stream(data)

    def _framing(self) -> Events:
        return Lines(min(MAX_EVENT, self._max_bytes)) if self._by_lines else super()._framing()

    def _ended(self) -> bool:
        return self._stopped

    def _chunk(self, name: str, chunk: Any) -> None:
        message = chunk.get("message")
        if message is None:
            self._without_message(chunk)
            return
        draft = self.draft
        if not draft.id:
            draft.id = str(chunk.get("created_at") or "")
            self.model = str(chunk["model"]) if chunk.get("model") else None
        if thinking := message.get("thinking"):
            draft.reasoning(thinking)
        if content := message.get("content"):
            draft.text(content)
        if calls := message.get("tool_calls"):
            for call in calls:
                self._call(call)
        if logprobs := chunk.get("logprobs"):
            draft.logprobs.extend([_logprob(token) for token in logprobs])
        if chunk.get("done"):
            self._finish(chunk)

    def _without_message(self, chunk: Any) -> None:
        if chunk.get("error"):
            self.fail_as_told(chunk)
        elif chunk.get("done"):
            self._finish(chunk)
        else:
            self.fail(_K.MALFORMED_RESPONSE, "a piece of the answer has no message")

    def _call(self, call: Any) -> None:
        """A call comes whole. Its ``index`` starts anew with every piece in some versions, so it says nothing."""
        function = call["function"]
        key = self.draft.calls
        self.draft.call(key, id=call.get("id"), name=function["name"])
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = to_json({} if arguments is None else arguments, inf_nan_mode="null").decode()
        self.draft.arguments(key, arguments)

    def _finish(self, chunk: Any) -> None:
        self.told_usage = chunk
        if reason := chunk.get("done_reason"):
            self.finish_raw = str(reason)
        self._stopped = True
        self.end()

    def _read_usage(self, told: Any) -> Usage:
        """Older servers leave out the prompt's count where the prompt was in their cache: it is then not known."""
        output = count(told.get("eval_count"))
        if not (prompt := count(told.get("prompt_eval_count"))):
            if not output:
                raise ValueError("an account without figures is none")
            return Usage(output=output, reported=False)
        return Usage(input=prompt, output=output)

    def _conclude(self) -> Decoded | Any:
        found = super()._conclude()
        if not isinstance(found, Decoded) or not self._was_cut(found.usage):
            return found
        detail = (
            f"the prompt fills the window of {self._window} tokens: the server has cut its beginning; give the model's "
            "row a larger num_ctx"
        )
        return replace(found, losses=(*found.losses, Loss(kind="dropped", field="messages", detail=detail)))

    def _was_cut(self, usage: Usage) -> bool:
        """Servers that know no ``truncate`` and ``shift`` cut in silence; only the figures show it."""
        return (
            bool(self._window)
            and usage.reported
            and (usage.input >= self._window or usage.input + usage.output > self._window)
        )


def _logprob(token: Any) -> TokenLogprob:
    top = token.get("top_logprobs") or ()
    return TokenLogprob(
        token=token["token"],
        logprob=token["logprob"],
        top=tuple((other["token"], other["logprob"]) for other in top),
    )

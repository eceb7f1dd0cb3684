"""Answers in the form of OpenAI's chat completions: chunks and whole documents read by the same lines."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import Citation, FinishReason, TokenLogprob, Usage
from job_contracts.failures import FailureKind
from workers.dialects.openai_details import take_details
from workers.dialects.reading import WRONG_SHAPE, Reader, count

_F = FinishReason


class ChatReader(Reader):
    """Reads one chat completion."""

    finish_words: ClassVar = {
        "stop": _F.STOP,
        "eos": _F.STOP,
        "eos_token": _F.STOP,
        "end_turn": _F.STOP,
        "stop_sequence": _F.STOP,
        "length": _F.LENGTH,
        "max_tokens": _F.LENGTH,
        "model_length": _F.LENGTH,
        "model_context_window_exceeded": _F.LENGTH,
        "tool_calls": _F.TOOL_CALLS,
        "tool_call": _F.TOOL_CALLS,
        "tool_use": _F.TOOL_CALLS,
        "function_call": _F.TOOL_CALLS,
        "content_filter": _F.CONTENT_FILTER,
        "content_filtered": _F.CONTENT_FILTER,
        "sensitive": _F.CONTENT_FILTER,
        "safety": _F.CONTENT_FILTER,
        "refusal": _F.CONTENT_FILTER,
    }
    failed_words: ClassVar = {
        "error": FailureKind.SERVER_ERROR,
        "network_error": FailureKind.SERVER_ERROR,
        "timeout": FailureKind.SERVER_ERROR,
        "abort": FailureKind.SERVER_ERROR,
        "insufficient_system_resource": FailureKind.OVERLOADED,
    }

    _answered = False
    _last_call: object = None
    _annotations: tuple[Any, ...] = ()
    _sources: Any = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._moved: dict[int, object] = {}

    def _ended(self) -> bool:
        """A reason to stop; without one the provider's own end, where the account of what was made came with it."""
        if self.finish_raw:
            return True
        return self.done and self._answered and (self.quirks.finish_optional or bool(self.told_usage))

    def _chunk(self, name: str, chunk: Any) -> None:
        if chunk.get("error"):
            self.fail_as_told(chunk)
            return
        if not self.draft.id and (answer_id := chunk.get("id")):
            self.draft.id = str(answer_id)
        choices = chunk.get("choices")
        if choices:
            self._choice(choices[0], whole=name == "document")
        elif name in {"document", "error"}:
            self._without_choices(name, chunk)
            return
        usage = chunk.get("usage")
        if usage is None and choices:
            usage = choices[0].get("usage")  # Moonshot
        if usage is None and "x_groq" in chunk:
            usage = (chunk["x_groq"] or {}).get("usage")
        if usage:
            self.told_usage = usage
            # Lists of sources are repeated on every chunk, or come on the last: where usage is, they are whole.
            self._sources = chunk.get("search_results") or chunk.get("citations") or self._sources
        if self.model is None and (model := chunk.get("model")):
            self.model = str(model)

    def _without_choices(self, name: str, chunk: Any) -> None:
        told = chunk.get("base_resp") or {}
        if name == "error" or told.get("status_code") or "message" in chunk or "detail" in chunk:
            self.fail_as_told(chunk)
        else:
            self.fail(FailureKind.MALFORMED_RESPONSE, "the answer has no choices")

    def _choice(self, choice: Any, *, whole: bool) -> None:
        if choice.get("index"):
            return  # one answer was asked for; a further one of another index is not ours
        delta = choice.get("message") if whole else choice.get("delta")
        if delta is None:
            delta = choice.get("delta") or choice.get("message")
        if delta:
            self._answered = True
            self._delta(delta)
        if reason := choice.get("finish_reason"):
            self.finish_raw = str(reason)
        elif whole and (details := choice.get("finish_details")):  # the first models with eyes
            self.finish_raw = details.get("type")
        if error := choice.get("error"):  # OpenRouter: what the provider behind it said, whatever it stopped with
            self.fail_as_told({"error": error})
        logprobs = choice.get("logprobs")
        if logprobs and (tokens := logprobs.get("content")):
            self._logprobs(tokens)

    def _logprobs(self, tokens: Any) -> None:
        """Some servers leave the number out of the last token: that one is not held, the answer is."""
        try:
            self.draft.logprobs.extend([_logprob(token) for token in tokens])
        except WRONG_SHAPE:
            self.lose("answer.logprobs", "a token's log probability is not of the documented form")

    def _delta(self, delta: Any) -> None:
        draft = self.draft
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning and isinstance(reasoning, str):
            draft.reasoning(reasoning)
        content = delta.get("content")
        if content:
            if content.__class__ is str:
                draft.text(content)
            else:
                self._parts(content)
        if refusal := delta.get("refusal"):
            draft.refusal(refusal)
        if calls := delta.get("tool_calls"):
            for at, call in enumerate(calls):
                self._call(call, at)

        if not _PLAIN.issuperset(delta):
            self._rare(delta)

    def _rare(self, delta: Any) -> None:
        """What few answers hold: citations; and what an ``Answer`` has no place for, which is told as a loss."""
        details = delta.get("reasoning_details")
        if details and self.quirks.reasoning_history == "reasoning_details":
            take_details(details, self.draft, spoken=bool(delta.get("reasoning") or delta.get("reasoning_content")))
        if annotations := delta.get("annotations"):
            self._annotations += tuple(annotations)
        function = delta.get("function_call")  # the form before tools
        if function and (function.get("name") or function.get("arguments")):
            self._call({"index": -1, "function": function}, 0)
        for name, what in _NO_PLACE.items():
            held = delta.get(name)
            if held and (not isinstance(held, dict) or any(held.values())):
                self.lose(f"answer.{name}", what)

    def _citations(self) -> list[Citation]:
        """Annotations with their places; of a list of sources those that no annotation names."""
        cited: list[Citation] = []
        for one in self._annotations:
            told = one.get("url_citation", one) if one.get("type") == "url_citation" else None
            if told is None:
                self.lose("answer.annotations", f"{one.get('type')!r} is no citation of an address")
                continue
            start, end = told.get("start_index"), told.get("end_index")
            placed = isinstance(start, int) and isinstance(end, int) and 0 <= start < end
            cited.append(
                Citation(
                    url=told["url"],
                    title=told.get("title") or None,
                    start=start if placed else None,
                    end=end if placed else None,
                )
            )
        known = {one.url for one in cited}
        for source in self._sources or ():
            url, title = (source, None) if isinstance(source, str) else (source["url"], source.get("title"))
            if url not in known:
                known.add(url)
                cited.append(Citation(url=url, title=title or None))
        return cited

    def _parts(self, parts: Any) -> None:
        """Content as a list: text and thinking in turn (Mistral); other kinds of parts have no place in an answer.

        An object is JSON that was asked for and came parsed (Workers AI).
        """
        if isinstance(parts, dict):
            self.draft.text(to_json(parts, inf_nan_mode="null").decode())
            return
        for part in parts:
            kind = part.get("type")
            if kind in {"text", "output_text"}:
                self.draft.text(part.get("text") or "")
            elif kind == "thinking":
                thinking = part.get("thinking") or []
                if isinstance(thinking, str):
                    self.draft.reasoning(thinking)
                    continue
                for piece in thinking:
                    self.draft.reasoning(piece.get("text") or "")
            elif kind == "refusal":
                self.draft.refusal(part.get("refusal") or "")
            elif kind:
                self.lose("answer.content", f"parts of type {str(kind)[:80]!r} have no place in an answer")

    def _call(self, call: Any, at: int) -> None:
        function = call.get("function") or {}
        call_id, name = call.get("id"), function.get("name")
        key = self._key(call.get("index"), call_id, name, at)
        self.draft.call(key, id=call_id, name=name)
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = to_json(arguments, inf_nan_mode="null").decode()
        self.draft.arguments(key, arguments or "")
        self._last_call = key

    def _key(self, index: Any, id: Any, name: Any, at: int) -> object:
        """Which call a piece belongs to: by index; without one by id; without both it goes on with the last.

        Some servers send every whole call under index 0: another id that comes with a name begins another call.
        """
        draft = self.draft
        if isinstance(index, int):
            key = self._moved.get(index, index)
            if name and id and draft.has_call(key) and draft.call_id(key) not in {"", id}:
                key = self._moved[index] = ("id", id)
            return key
        if id:
            return ("id", id)
        if name or self._last_call is None:
            return ("place", draft.calls, at)
        return self._last_call

    def _read_usage(self, told: Any) -> Usage:
        prompt, completion = count(told.get("prompt_tokens")), count(told.get("completion_tokens"))
        read = told.get("prompt_tokens_details") or {}
        wrote = told.get("completion_tokens_details") or {}
        cached = next((n for n in (count(read.get("cached_tokens")), *_cached(told)) if n), 0)
        reasoning = count(wrote.get("reasoning_tokens")) or count(told.get("reasoning_tokens"))
        total = count(told.get("total_tokens"))
        # Some leave reasoning out of the completion: visible where the total has it, or where it is the larger number.
        # A total without it says that it was counted by another measure and is inside, but where the row knows better.
        inside = total == prompt + completion and not self.quirks.reasoning_apart
        if reasoning and (total == prompt + completion + reasoning or (reasoning > completion and not inside)):
            completion += reasoning
        return Usage(
            input=prompt,
            output=completion,
            cache_read=cached,
            cache_write=count(read.get("cache_write_tokens")) or count(told.get("cache_creation_input_tokens")),
            reasoning=min(reasoning, completion),
        )

    def _read_cost(self, told: Any) -> Decimal | None:
        """``cost``, ``cost.total_cost``, or ticks of 1e-10 dollars."""
        cost = told.get("cost")
        if isinstance(cost, dict):
            cost = cost.get("total_cost")
        ticks = told.get("cost_in_usd_ticks")
        if cost is None and isinstance(ticks, int):
            return Decimal(ticks).scaleb(-10)
        if isinstance(cost, bool) or not isinstance(cost, int | float | str):
            return None
        try:
            amount = Decimal(str(cost))
        except ArithmeticError:
            return None
        return amount if amount.is_finite() and amount >= 0 else None


_PLAIN = frozenset({"role", "content", "reasoning", "reasoning_content", "tool_calls", "refusal"})
"""What nearly all deltas hold and nothing else."""
_NO_PLACE = {
    "audio": "spoken answers and their transcripts are not held",
    "images": "pictures the model made are not held",
    "executed_tools": "calls of tools that ran at the provider are not held",
}


def _cached(usage: Any) -> tuple[int, int, int]:
    return (
        count(usage.get("prompt_cache_hit_tokens")),
        count(usage.get("cached_tokens")),
        count(usage.get("num_cached_tokens")),
    )


def _logprob(token: Any) -> TokenLogprob:
    top = token.get("top_logprobs") or ()
    return TokenLogprob(
        token=token["token"],
        logprob=token["logprob"],
        top=tuple((other["token"], other["logprob"]) for other in top),
    )

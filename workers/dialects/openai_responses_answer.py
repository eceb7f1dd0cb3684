"""Answers in the form of OpenAI's Responses API: a stream of typed events, or one ``response`` read item by item.

Events: https://platform.openai.com/docs/api-reference/responses-streaming. An item begins, comes in pieces, and is told
once more when it is done: what came in pieces is taken then, what did not is taken from the finished item.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import to_json

from job_contracts.chat import Citation, FinishReason, TokenLogprob, Usage
from job_contracts.failures import FailureKind
from workers.dialects.openai_reasoning import packed
from workers.dialects.reading import Reader, count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_F = FinishReason
_K = FailureKind

_ENDS = frozenset({"completed", "complete", "incomplete"})
"""``complete`` is said by copies of the API."""
_BAD_IMAGES = (
    "invalid_image invalid_image_format invalid_base64_image invalid_image_url image_too_large image_too_small "
    "image_parse_error invalid_image_mode image_file_too_large unsupported_image_media_type empty_image_file "
    "failed_to_download_image image_file_not_found"
)
_FAILED_CODES: Mapping[str, FailureKind] = {
    **dict.fromkeys(_BAD_IMAGES.split(), _K.BAD_REQUEST),
    "image_content_policy_violation": _K.CONTENT_POLICY,
    "bio_policy": _K.CONTENT_POLICY,
    "misalignment_policy_violation": _K.CONTENT_POLICY,
}
"""Codes that only a failed response has; the others are known from elsewhere."""
_MAX_MESSAGE = 600


class ResponseReader(Reader):
    """Reads one response. A stream is whole when ``response.completed`` or ``response.incomplete`` came."""

    finish_words: ClassVar = {
        "completed": _F.STOP,
        "incomplete": _F.LENGTH,
        "max_output_tokens": _F.LENGTH,
        "max_tokens": _F.LENGTH,
        "content_filter": _F.CONTENT_FILTER,
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._status = ""
        self._came: set[Any] = set()  # items of which pieces have come
        self._items = 0
        self._cited: dict[Any, list[Any]] = {}  # annotations told before their item was done
        self._text = 0  # characters of the finished text items: where the next one begins in the answer's text
        self._handlers: Mapping[str, Callable[[Any], None]] = {
            "response.output_text.delta": self._text_delta,
            "response.reasoning_summary_text.delta": self._reasoning_delta,
            "response.reasoning_text.delta": self._reasoning_delta,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.refusal.delta": self._refusal_delta,
            "response.content_part.added": self._next_part,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.output_text.annotation.added": self._annotation,
            "response.created": self._begin,
            "response.completed": self._finished,
            "response.incomplete": self._finished,
            "response.failed": self._finished,
            "response.cancelled": self._finished,
            "error": self._error,
        }

    # -- events

    def _chunk(self, name: str, chunk: Any) -> None:
        if name == "document":
            self._document(chunk)
            return
        event = self._handlers.get(chunk.get("type") or name)
        if event is not None:
            event(chunk)
        elif chunk.get("error"):
            self.fail_as_told(chunk)
        # Others tell of steps on the way, or keep the line open.

    def _document(self, document: Any) -> None:
        if document.get("error"):
            self._refused(document["error"])
        elif document.get("output") is None:
            self.fail(_K.MALFORMED_RESPONSE, "the answer has no output")
        else:
            self._begin({"response": document})
            self._finished({"response": document})

    def _begin(self, chunk: Any) -> None:
        response = chunk["response"]
        if response.get("id"):
            self.draft.id = str(response["id"])
        if response.get("model"):
            self.model = str(response["model"])

    def _finished(self, chunk: Any) -> None:
        response = chunk["response"]
        self._begin(chunk)
        if response.get("usage"):
            self.told_usage = response["usage"]
        status = str(response.get("status") or chunk.get("type", "").removeprefix("response.") or "completed")
        if response.get("error") or status not in _ENDS:
            self._unfinished(response, status)
            return
        if not self._items:
            for at, item in enumerate(response.get("output") or ()):
                self._item_done({"output_index": at, "item": item})
        self._status = status
        reason = (response.get("incomplete_details") or {}).get("reason") if status == "incomplete" else None
        self.finish_raw = str(reason or status)
        self.end()

    def _unfinished(self, response: Any, status: str) -> None:
        if response.get("error"):
            self._refused(response["error"])
        elif status in {"queued", "in_progress"}:
            self.fail(_K.MALFORMED_RESPONSE, f"the response is {status}: the target answers in the background")
        else:
            self.fail(_K.SERVER_ERROR, f"the response is {status}")

    def _error(self, chunk: Any) -> None:
        self._refused(chunk.get("error") or chunk)

    def _refused(self, error: Any) -> None:
        kind = _FAILED_CODES.get(error.get("code") or "") if isinstance(error, dict) else None
        if kind is None:
            self.fail_as_told(error)
        else:
            self.fail(kind, str(error.get("message") or error["code"])[:_MAX_MESSAGE], code=error["code"])

    # -- pieces

    def _text_delta(self, chunk: Any) -> None:
        if piece := chunk["delta"]:
            self._came.add(_place(chunk))
            self.draft.text(piece)
        if tokens := chunk.get("logprobs"):
            self.draft.logprobs.extend([_logprob(token) for token in tokens])

    def _reasoning_delta(self, chunk: Any) -> None:
        if piece := chunk["delta"]:
            self._came.add(_place(chunk))
            self.draft.reasoning(piece)

    def _refusal_delta(self, chunk: Any) -> None:
        if piece := chunk["delta"]:
            self._came.add(_place(chunk))
            self.draft.refusal(piece)

    def _arguments_delta(self, chunk: Any) -> None:
        if piece := chunk["delta"]:
            key = _place(chunk)
            self._came.add(key)
            self.draft.arguments(key, piece)

    def _next_part(self, _: Any) -> None:
        self.draft.close()

    def _annotation(self, chunk: Any) -> None:
        key = _place(chunk), chunk.get("content_index")
        self._cited.setdefault(key, []).append(chunk["annotation"])

    # -- items

    def _item_added(self, chunk: Any) -> None:
        self._items += 1
        item = chunk["item"]
        self.draft.close()
        if item["type"] == "function_call":
            self._call(_place(chunk), item)

    def _call(self, key: Any, item: Any) -> None:
        self.draft.call(key, id=item.get("call_id") or item.get("id"), name=item.get("name"))
        self.draft.arguments(key, "")

    def _item_done(self, chunk: Any) -> None:
        self._items += 1
        item, key = chunk["item"], _place(chunk)
        came = key in self._came
        kind = item["type"]
        if kind == "message":
            self._message(item, key, came=came)
        elif kind == "function_call":
            self._call(key, item)
            if not came:
                arguments = item.get("arguments") or ""
                text = arguments if isinstance(arguments, str) else to_json(arguments, inf_nan_mode="null").decode()
                self.draft.arguments(key, text)
        elif kind == "reasoning":
            if not came:
                for part in (*(item.get("summary") or ()), *(item.get("content") or ())):
                    self.draft.reasoning(part.get("text") or "")
            if (whole := packed(item)) is not None:
                self.draft.sign(whole)
        else:
            self.losses.add("dropped", f"answer.{kind}", "an item of the provider's own: an answer has no place for it")
        self.draft.close()

    def _message(self, item: Any, key: Any, *, came: bool) -> None:
        if item.get("phase") == "commentary":
            self.losses.add("dropped", "answer.phase", "the text is a commentary on the way, not the final answer")
        told = bool(self.draft.logprobs)
        for at, part in enumerate(item.get("content") or ()):
            kind = part["type"]
            if kind == "output_text":
                text = part.get("text") or ""
                if not came:
                    self.draft.close()
                    self.draft.text(text)
                if not (came and told) and part.get("logprobs"):
                    self.draft.logprobs.extend([_logprob(token) for token in part["logprobs"]])
                self._cite(part.get("annotations") or self._cited.get((key, at)) or ())
                self._text += len(text)
            elif kind == "refusal":
                if not came:
                    self.draft.refusal(part.get("refusal") or "")
            else:
                self.losses.add("dropped", f"answer.{kind}", "an answer has no place for such a part")

    def _cite(self, annotations: Any) -> None:
        for annotation in annotations:
            url = annotation.get("url")
            if annotation.get("type") != "url_citation" or not isinstance(url, str):
                detail = f"{annotation.get('type')}: a citation is of an address"
                self.losses.add("dropped", "answer.annotations", detail)
                continue
            title = annotation.get("title")
            start, end = annotation.get("start_index"), annotation.get("end_index")
            placed = isinstance(start, int) and isinstance(end, int)
            self.draft.citations.append(
                Citation(
                    url=url,
                    title=title if isinstance(title, str) else None,
                    start=self._text + start if placed else None,
                    end=self._text + end if placed else None,
                )
            )

    # -- the end

    def _meaning(self, raw: str | None) -> FinishReason | FailureKind:
        if self._status == "incomplete" and raw not in self.finish_words:
            return _F.LENGTH  # for whatever reason, the answer is not whole
        return super()._meaning(raw)

    def _read_usage(self, told: Any) -> Usage:
        read, wrote = told.get("input_tokens_details") or {}, told.get("output_tokens_details") or {}
        output, reasoning = count(told.get("output_tokens")), count(wrote.get("reasoning_tokens"))
        return Usage(
            input=count(told.get("input_tokens")),
            output=max(output, reasoning),
            cache_read=count(read.get("cached_tokens")),
            cache_write=count(read.get("cache_write_tokens")),
            reasoning=reasoning,
        )

    def _read_cost(self, told: Any) -> Decimal | None:
        """``cost`` in dollars (OpenRouter), or ticks of 1e-10 dollars (xAI)."""
        ticks, cost = told.get("cost_in_usd_ticks"), told.get("cost")
        if cost is None and ticks.__class__ is int:
            return Decimal(ticks).scaleb(-10)
        if isinstance(cost, bool) or not isinstance(cost, int | float | str):
            return None
        try:
            amount = Decimal(str(cost))
        except ArithmeticError:
            return None
        return amount if amount.is_finite() and amount >= 0 else None


def _place(chunk: Any) -> Any:
    """Which item an event is about: by its place among the items, or by its id where no place is told."""
    place = chunk.get("output_index")
    return place if place is not None else chunk.get("item_id") or (chunk.get("item") or {}).get("id")


def _logprob(token: Any) -> TokenLogprob:
    top = token.get("top_logprobs") or ()
    return TokenLogprob(
        token=token["token"],
        logprob=token["logprob"],
        top=tuple((other["token"], other["logprob"]) for other in top),
    )

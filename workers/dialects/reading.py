"""The path every answer takes, streamed or not: bytes, events, JSON, draft, and one defined end.

A dialect adds what a chunk means (``_chunk``), when the end was seen (``_ended``), and its words for the reasons to
stop. Foreign JSON is read as if it had the documented shape; where it has not, the error that follows is mapped to
``malformed_response`` at one border, here.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import from_json

from job_contracts.chat import FinishReason, Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from workers.dialects.draft import Draft
from workers.dialects.encoding import Losses
from workers.dialects.failures import classify_in_band, readable
from workers.dialects.port import Decoded, Partial, Target
from workers.dialects.sse import MAX_EVENT, Events, EventTooLarge
from workers.dialects.tokens import of_characters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from catalogue.quirks import Quirks
    from job_contracts.chat import Citation
    from job_contracts.stream import Delta

WRONG_SHAPE = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading JSON of another shape than documented runs into (pydantic's ValidationError is a ValueError)."""

_BLANK = b" \t\r\n\xef\xbb\xbf"
_STREAM_STARTS = frozenset(b":dire")  # comment, data, id, retry, event: no JSON document starts with one of these


class Reader(ABC):
    """Reads one answer; the public methods are those of ``port.Decoder``."""

    finish_words: ClassVar[Mapping[str, FinishReason]]
    """The dialect's words for the reasons to stop."""
    failed_words: ClassVar[Mapping[str, FailureKind]] = {}
    """Reasons to stop that are failures."""
    unknown_finish: ClassVar[FinishReason | FailureKind] = FinishReason.STOP
    """What a word in neither of them means."""

    def __init__(
        self, target: Target, quirks: Quirks, *, content_type: str, max_bytes: int, names: Mapping[str, str]
    ) -> None:
        self.quirks = quirks
        self.draft = Draft(origin=target.model.family or None, names=names)
        self.model: str | None = None
        self.finish_raw: str | None = None
        self.told_usage: Any = None
        """The provider's account of usage as it came: read once, at the end."""
        self.losses = Losses()
        """What came and has no place in an answer."""
        self.done = False
        """``[DONE]``, or the end of a whole document, was seen."""
        self._provider = target.provider.name
        self._media = content_type.partition(";")[0].strip().lower()
        self._max_bytes = max_bytes
        self._received = 0
        self._chunks = 0
        self._told_at = 0
        self._events: Events | None = None
        self._body: list[bytes] = []
        self._is_document = False
        self._failure: Failure | None = None
        self._complete = False
        self._end: Decoded | Failure | None = None

    # -- what a dialect adds

    @abstractmethod
    def _chunk(self, name: str, chunk: Any) -> None:
        """Take in one event of a stream, or the one document of a plain answer (``name`` is then ``document``)."""

    @abstractmethod
    def _read_usage(self, told: Any) -> Usage:
        """The provider's account in our kinds."""

    def _read_cost(self, told: Any) -> Decimal | None:
        """US dollars where the account states them."""
        return None

    def _citations(self) -> Sequence[Citation]:
        """The sources that were told, now that all text is there."""
        return ()

    def _ended(self) -> bool:
        """Whether the end of the answer was seen."""
        return bool(self.finish_raw)

    def _framing(self) -> Events:
        """What cuts a stream of this dialect into events."""
        return Events(min(MAX_EVENT, self._max_bytes))

    # -- the port

    def feed(self, data: bytes) -> Sequence[Delta]:
        if self._failure is not None or self._complete or not data:
            return ()
        self._received += len(data)
        if self._received > self._max_bytes:
            self.fail(FailureKind.RESPONSE_TOO_LARGE, f"the answer is larger than {self._max_bytes} bytes")
            return ()
        if self._events is None:
            self._body.append(data)
            if self._is_document or not self._begins_stream(data):
                return ()
            self._events = self._framing()
            data = b"".join(self._body)
            self._body = []
        try:
            self._take(self._events.feed(data))
        except EventTooLarge:
            self.fail(FailureKind.RESPONSE_TOO_LARGE, "an event of the stream is too large")
        return self.draft.drain()

    @property
    def failure(self) -> Failure | None:
        return self._failure

    @property
    def complete(self) -> bool:
        return self._complete

    @property
    def partial(self) -> Partial:
        draft = self.draft
        return Partial(
            usage=self._usage(),
            output_characters=draft.characters,
            produced=draft.produced,
            final=bool(self.finish_raw) or self.done,
            told_at=self._told_at,
            cost=self._stated_cost(),
        )

    def finish(self) -> Decoded | Failure:
        if self._end is None:
            if self._failure is None and not self._complete:
                self._last_bytes()
            self._end = self._failure or self._conclude()
        return self._end

    # -- steps

    def fail(self, kind: FailureKind, message: str, *, code: str | None = None) -> None:
        """The answer is broken or reports a failure. The first failure stands."""
        self._failed(kind, message, code=code)

    def _failed(self, kind: FailureKind, message: str, *, code: str | None = None) -> Failure:
        if self._failure is None:
            self._failure = Failure(
                kind=kind, message=message, code=code, provider=self._provider, produced=self.draft.produced
            )
        return self._failure

    def fail_as_told(self, error: Any) -> None:
        """An error object inside an answer that was promised to be good."""
        if self._failure is None:
            told = classify_in_band(error, self.quirks)
            self._failure = told.model_copy(update={"provider": self._provider, "produced": self.draft.produced})

    def lose(self, field: str, detail: str) -> None:
        """Something of the answer is left out; the same is told once."""
        loss = Loss(kind="dropped", field=field, detail=detail)
        if loss not in self.losses:
            self.losses.append(loss)

    def end(self) -> None:
        """The terminator came."""
        self._complete = True

    def _begins_stream(self, data: bytes) -> bool:
        """Decided by the first byte that is not blank: what an answer is outweighs what its header says it is."""
        start = data.lstrip(_BLANK)
        if not start:
            return False
        first = start[0]
        streamed = first in _STREAM_STARTS or (self._media == "text/event-stream" and first not in b"{[<")
        self._is_document = not streamed
        return streamed

    def _take(self, events: list[tuple[str, bytes]]) -> None:
        for name, payload in events:
            try:
                if payload[:1] != b"{" and self._is_no_json(payload):
                    if self._complete:
                        return
                    continue
                chunk = parse(payload)
                self._chunks += 1
                before = self.told_usage
                self._chunk(name, chunk)
                if self.told_usage is not before:
                    self._told_at = self.draft.characters
            except WRONG_SHAPE:
                self.fail(FailureKind.MALFORMED_RESPONSE, f"malformed chunk: {readable(payload)}")
            if self._failure is not None or self._complete:
                return

    def _is_no_json(self, payload: bytes) -> bool:
        word = payload.strip()
        if word == b"[DONE]":
            self.done = True
            self.end()
        return self.done or not word

    def _last_bytes(self) -> None:
        if self._events is not None:
            self._take_rest(self._events)
        elif body := b"".join(self._body).lstrip(_BLANK):
            self._take_document(body)

    def _take_rest(self, events: Events) -> None:
        """The event that the end of the body left unfinished: read it if it is whole, else the stream was cut in it."""
        for name, payload in events.flush():
            try:
                parse(payload)
            except WRONG_SHAPE:
                if payload.strip() != b"[DONE]":
                    continue
            self._take([(name, payload)])

    def _take_document(self, body: bytes) -> None:
        if body[:1] == b"<" or "html" in self._media:
            self.fail(FailureKind.MALFORMED_RESPONSE, f"a page instead of an answer: {readable(body)}")
            return
        try:
            document = parse(body)
            self.done = True
            for part in document if isinstance(document, list) else (document,):
                self._chunks += 1
                self._chunk("document", part)
        except WRONG_SHAPE as error:
            kind = FailureKind.STREAM_TRUNCATED if "EOF" in str(error) else FailureKind.MALFORMED_RESPONSE
            self.fail(kind, f"not an answer of this dialect: {readable(body)}")

    def _conclude(self) -> Decoded | Failure:
        if not self._ended():
            return self._unended()
        try:
            self.draft.citations += self._citations()
        except WRONG_SHAPE:
            self.lose("answer.citations", "they are not of the documented form")
        try:
            answer = self.draft.answer()
        except WRONG_SHAPE:
            return self._failed(FailureKind.MALFORMED_RESPONSE, "the answer's parts do not fit together")
        raw = self.finish_raw or None
        meaning = self._meaning(raw)
        if isinstance(meaning, FailureKind):
            return self._failed(meaning, f"the provider stopped with {raw!r}", code=raw)
        return Decoded(
            answer=answer,
            finish_reason=meaning,
            finish_raw=raw,
            usage=self._usage(),
            model=self.model,
            cost=self._stated_cost(),
            losses=tuple(self.losses),
        )

    def _unended(self) -> Failure:
        malformed = FailureKind.MALFORMED_RESPONSE
        if not self._received:
            return self._failed(malformed, "the answer's body is empty")
        if not self._chunks:
            return self._failed(malformed, "nothing of the body could be read as an answer")
        if self._is_document:
            return self._failed(malformed, "the answer does not say why the model stopped")
        return self._failed(FailureKind.STREAM_TRUNCATED, "the stream ended before the answer did")

    def _meaning(self, raw: str | None) -> FinishReason | FailureKind:
        """The reason to stop in our five words; what a model called or refused outweighs the word it stopped with."""
        word: FinishReason | FailureKind
        if raw is None:
            word = FinishReason.STOP
        else:
            word = self.failed_words.get(raw) or self.finish_words.get(raw) or self.unknown_finish
        if word is FinishReason.STOP:
            if self.draft.calls:
                return FinishReason.TOOL_CALLS
            if self.draft.only_refuses:
                return FinishReason.CONTENT_FILTER
        return word

    def _stated_cost(self) -> Decimal | None:
        return self._read_cost(self.told_usage) if isinstance(self.told_usage, dict) else None

    def _usage(self) -> Usage:
        if self.told_usage:
            try:
                return self._read_usage(self.told_usage)
            except WRONG_SHAPE:
                pass  # an account nobody can read is none
        return Usage(output=of_characters(self.draft.characters), reported=False)


def parse(data: bytes) -> Any:
    """JSON of foreign origin. Raises ValueError or RecursionError.

    Half a surrogate pair (an escape some servers cut in two) is legal JSON to many writers and no Unicode text:
    it becomes U+FFFD.
    """
    try:
        return from_json(data)
    except ValueError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
        return _without_surrogates(json.loads(data))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def count(value: Any) -> int:
    """A number of tokens as providers write it; anything that is none counts as zero."""
    if value.__class__ is int:
        return value if 0 <= value < _TOO_MANY else 0
    if isinstance(value, float) and 0 <= value < _TOO_MANY:
        return int(value)
    return 0


_TOO_MANY = 2**53

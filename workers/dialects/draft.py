"""An answer while it comes: the one place where pieces become deltas now and parts of the answer at the end."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from job_contracts.chat import (
    Answer,
    AssistantPart,
    Citation,
    ReasoningPart,
    RefusalPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
)
from job_contracts.stream import Delta, ReasoningDelta, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXT, _REASONING, _REFUSAL, _CALL, _OPAQUE = range(5)
_SEAL = ""
"""The piece that stands for a part's signature or sealed form."""


class _Part:
    """One part of the answer: its kind and the pieces that have come."""

    __slots__ = ("id", "index", "kind", "name", "pieces", "redacted", "sent", "signature")

    def __init__(self, kind: int, index: int = 0) -> None:
        self.kind = kind
        self.index = index
        self.pieces: list[str] = []
        self.id = ""
        self.name = ""
        self.signature: str | None = None
        self.redacted: str | None = None
        self.sent = 0


class Draft:
    """Collects an answer in the order it comes.

    ``origin`` is the family the target's signatures are good for; ``names`` maps tool names as they were sent to the
    names the conversation uses. Methods raise TypeError where a piece is not a string: the reader's border maps it.
    """

    __slots__ = (
        "_calls", "_fresh", "_names", "_open", "_origin", "_parts", "characters", "citations", "id", "logprobs",
        "produced",
    )  # fmt: skip

    def __init__(self, *, origin: str | None, names: Mapping[str, str]) -> None:
        self._origin = origin
        self._names = names
        self._parts: list[_Part] = []
        self._open: _Part | None = None
        self._calls: dict[object, _Part] = {}
        self._fresh: list[tuple[_Part, str]] = []
        self.logprobs: list[TokenLogprob] = []
        self.citations: list[Citation] = []
        self.characters = 0
        self.produced = False
        self.id = ""
        """The provider's id of the answer: what ids of calls that came without one are made of."""

    # -- pieces

    def text(self, piece: str) -> None:
        """More text."""
        self._append(_TEXT, piece)

    def reasoning(self, piece: str) -> None:
        """More shown reasoning."""
        self._append(_REASONING, piece)

    def refusal(self, piece: str) -> None:
        """More of a refusal; it has no delta of its own, the result carries it."""
        self._append(_REFUSAL, piece)

    def _append(self, kind: int, piece: str) -> None:
        if piece.__class__ is not str:
            raise TypeError("a piece of text is not a string")
        if not piece:
            return
        part = self._open
        if part is None or part.kind != kind or part.signature is not None:
            part = self._start(kind)
        part.pieces.append(piece)
        self.characters += len(piece)
        self.produced = True
        self._fresh.append((part, piece))

    def _start(self, kind: int) -> _Part:
        self.close()
        part = self._open = _Part(kind)
        self._parts.append(part)
        return part

    def close(self) -> None:
        """The current part is over: what follows starts a new one even if it is of the same kind."""
        part, self._open = self._open, None
        if part is not None and part.kind == _REASONING and part.signature is not None:
            self._fresh.append((part, _SEAL))

    def sign(self, signature: str) -> None:
        """The signature of the reasoning that just came, or of an empty piece of reasoning where none did."""
        if not isinstance(signature, str):
            raise TypeError("a signature is not a string")
        part = self._open
        if part is None or part.kind != _REASONING:
            part = self._start(_REASONING)
        part.signature = (part.signature or "") + signature

    def redacted(self, data: str) -> None:
        """Reasoning that came as opaque data."""
        if not isinstance(data, str):
            raise TypeError("redacted reasoning is not a string")
        part = self._start(_OPAQUE)
        part.redacted = data
        self._fresh.append((part, _SEAL))
        self._open = None

    # -- tool calls

    def has_call(self, key: object) -> bool:
        """Whether a call with this key has begun."""
        return key in self._calls

    @property
    def calls(self) -> int:
        """How many calls have begun."""
        return len(self._calls)

    @property
    def only_refuses(self) -> bool:
        """Whether there is a refusal and neither text nor a call."""
        kinds = {part.kind for part in self._parts}
        return _REFUSAL in kinds and not kinds & {_TEXT, _CALL}

    def call_id(self, key: object) -> str:
        """The id a call has so far, empty if none came."""
        return self._calls[key].id

    def call(self, key: object, *, id: str | None, name: str | None, signature: str | None = None) -> None:
        """Begin the call ``key``, or tell more of it."""
        part = self._calls.get(key)
        if part is None:
            part = self._calls[key] = _Part(_CALL, len(self._calls))
            self._parts.append(part)
            self.close()
            self.produced = True
        if id and not part.id:
            part.id = _word(id)
        if name and not part.name:
            part.name = _word(name)
        if signature:
            part.signature = _word(signature)

    def arguments(self, key: object, piece: str) -> None:
        """More of the JSON text of the arguments of the call ``key``."""
        if piece.__class__ is not str:
            raise TypeError("arguments are not a string")
        part = self._calls[key]
        part.pieces.append(piece)
        self.characters += len(piece)
        self._fresh.append((part, piece))

    # -- what has come of it

    @property
    def text_so_far(self) -> str:
        """The text parts joined, as ``Answer.text`` will have them: what citations count their characters in."""
        return "".join("".join(part.pieces) for part in self._parts if part.kind == _TEXT)

    @property
    def open_text(self) -> int:
        """Characters of the text part that is being written."""
        part = self._open
        return sum(map(len, part.pieces)) if part is not None and part.kind == _TEXT else 0

    def drain(self) -> Sequence[Delta]:
        """Deltas since the last drain, neighbours of one part joined."""
        fresh = self._fresh
        if not fresh:
            return ()
        self._fresh = []
        if len(fresh) == 1:
            part, piece = fresh[0]
            if part.kind == _TEXT:
                return (TextDelta(text=piece),)
            return tuple(self._delta(part, piece))
        deltas: list[Delta] = []
        start = 0
        for at in range(1, len(fresh) + 1):
            part = fresh[start][0]
            if at == len(fresh) or fresh[at][0] is not part:
                deltas.extend(self._delta(part, "".join([piece for _, piece in fresh[start:at]])))
                start = at
        return deltas

    def _delta(self, part: _Part, piece: str) -> Sequence[Delta]:
        if part.kind == _TEXT:
            return (TextDelta(text=piece),)
        if part.kind == _REASONING:
            if part is self._open or part.signature is None or part.sent:
                return (ReasoningDelta(text=piece),)
            part.sent = 1
            return (ReasoningDelta(text=piece, signature=part.signature, origin=self._origin),)
        if part.kind == _OPAQUE:
            return (ReasoningDelta(text="", redacted=part.redacted, origin=self._origin),)
        if part.kind != _CALL:
            return ()
        if not part.name:
            return ()  # its first delta must name the tool; what has come until then goes with it
        sent, part.sent = part.sent, len(part.pieces)
        unsent = "".join(part.pieces[sent:])
        if not sent:
            return (ToolCallDelta(index=part.index, id=self._id(part), name=self._name(part), arguments=unsent),)
        return (ToolCallDelta(index=part.index, arguments=unsent),) if unsent else ()

    def answer(self) -> Answer:
        """The whole answer, parts in the order they began."""
        parts = [made for part in self._parts if (made := self._part(part)) is not None]
        return Answer(parts=tuple(parts), logprobs=tuple(self.logprobs), citations=tuple(self.citations))

    def _part(self, part: _Part) -> AssistantPart | None:
        text = "".join(part.pieces)
        if part.kind == _TEXT:
            return TextPart(text=text)
        if part.kind == _REFUSAL:
            return RefusalPart(text=text)
        if part.kind == _CALL:
            return ToolCallPart(
                id=self._id(part),
                name=self._name(part),
                arguments=text if text.strip() else "{}",
                signature=part.signature,
                origin=self._origin if part.signature else None,
            )
        origin = self._origin if part.signature or part.redacted else None
        return ReasoningPart(text=text, signature=part.signature or None, redacted=part.redacted, origin=origin)

    def _name(self, part: _Part) -> str:
        return self._names.get(part.name, part.name)

    def _id(self, part: _Part) -> str:
        if not part.id:
            # Made from what is unique to the answer, so that calls of different turns never share an id.
            seed = f"{self.id}/{part.index}/{part.name}/{'' if self.id else ''.join(part.pieces)}"
            part.id = f"call_{blake2b(seed.encode('utf-8', 'replace'), digest_size=12).hexdigest()}"
        return part.id


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id or a name is not a string")
    return value

"""The turns of a conversation as messages of Converse.

User and assistant take turns and the user begins; results of tools are blocks of the user's message; no block of text
may be blank; images and documents are the user's, documents with a name of restricted letters and some text beside
them. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from job_contracts.chat import (
    AssistantTurn,
    FilePart,
    ImagePart,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from workers.dialects.bedrock_media import DOCUMENTS, IMAGES, RECORDINGS, TEXTUAL, document_name, guessed
from workers.dialects.encoding import Ids, fits, image_data, marks, objects, split_data_url
from workers.dialects.pairs import paired

if TYPE_CHECKING:
    from job_contracts.chat import CacheFor, Conversation, UserContent
    from workers.dialects.encoding import Names, Wanted
    from workers.dialects.port import Target

OPENING = "(The conversation begins with the following answer.)"
"""What the user is made to say where the assistant speaks first, which the API refuses."""

AS_IT_IS = "base64:"
"""Begins opaque reasoning that is no text and is kept in the form of this wire."""

MOST_POINTS = 4
"""Cache points in one request."""


def called(conversation: Conversation) -> tuple[str, ...]:
    """Names of the tools that were called before; a result without its call counts as one of a tool of its name."""
    names: dict[str, None] = {}
    for turn in conversation.messages:
        if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str):
            names.update((part.name, None) for part in turn.content if isinstance(part, ToolCallPart))
    if not names and any(isinstance(turn, ToolTurn) for turn in conversation.messages):
        names["tool"] = None
    return tuple(names)


class CachePoints:
    """Marks of a conversation as cache points, the last few of them where there are more than the API takes."""

    __slots__ = ("_skip", "_wanted")

    def __init__(self, conversation: Conversation, wanted: Wanted) -> None:
        self._wanted = wanted
        places = tuple(marks(conversation))
        if places and wanted.refused("cache", field=places[0]):
            self._skip = len(places)
            return
        self._skip = max(0, len(places) - MOST_POINTS)
        if self._skip:
            detail = f"{len(places)} marks to the last {MOST_POINTS}: the API takes no more"
            wanted.losses.add("clamped", places[0], detail)

    def after(self, blocks: list[dict[str, Any]], mark: CacheFor | None, field: str) -> None:
        """Put a point behind the last of ``blocks``, if there is a mark and anything to be cached."""
        if mark is None:
            return
        if self._skip:
            self._skip -= 1
        elif not blocks or "cachePoint" in blocks[-1]:
            self._wanted.losses.add("dropped", field, "there is nothing before the mark")
        else:
            point = {"type": "default"}
            if mark == "1h" and self._wanted.quirks.cache_hour:
                point["ttl"] = mark
            elif mark == "1h":
                self._wanted.losses.add("clamped", field, "1h to 5m: the model keeps nothing longer")
            blocks.append({"cachePoint": point})


class Messages:
    """The messages, and the system text that stands beside them."""

    __slots__ = (
        "_family",
        "_ids",
        "_last",
        "_losses",
        "_messages",
        "_names",
        "_points",
        "_taken",
        "_turns",
        "_wanted",
        "system",
    )

    def __init__(
        self, conversation: Conversation, target: Target, wanted: Wanted, names: Names, points: CachePoints
    ) -> None:
        self._family = target.model.family
        self._wanted = wanted
        self._losses = wanted.losses
        self._names = names
        self._points = points
        self._turns = paired(conversation, wanted.losses)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._messages: list[dict[str, Any]] = []
        self._last = ""  # the role of the turn that spoke last, as the conversation has it
        self._taken: set[str] = set()
        self.system: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        for at, turn in self._turns:
            match turn:
                case UserTurn():
                    self._user(turn, at)
                case AssistantTurn():
                    self._assistant(turn, at)
                case SystemTurn():
                    self._system(turn, at)
                case ToolTurn():
                    self._result(turn, at)
        if self.system and not self._wanted.quirks.system_blocks:
            self._without_system()
        if not self._messages:
            self._without_turns()
        elif self._messages[0]["role"] == "assistant":
            self._losses.add("rewritten", "messages", f"the user is made to begin: {OPENING!r}")
            self._messages.insert(0, {"role": "user", "content": [{"text": OPENING}]})
        if self._messages[-1]["role"] == "assistant":
            self._trim_prefill(self._messages[-1]["content"])
        for message in self._messages:
            self._with_text(message["content"])
        return self._messages

    @property
    def continues_without_thoughts(self) -> bool:
        """Whether the last messages are calls that begin with no reasoning, and their results."""
        if len(self._messages) < 2 or self._messages[-1]["role"] != "user":
            return False
        blocks = self._messages[-2]["content"]
        return any("toolUse" in block for block in blocks) and "reasoningContent" not in blocks[0]

    def _add(self, role: str, turn_role: str, blocks: list[dict[str, Any]], at: int) -> None:
        if not blocks:
            return
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == role:
            if self._last == turn_role != "tool":
                self._losses.add("merged", f"messages[{at}]", f"two turns of the {role} in a row become one")
            last["content"] += blocks
        else:
            self._messages.append({"role": role, "content": blocks})
        self._last = turn_role

    # -- system

    def _system(self, turn: SystemTurn, at: int) -> None:
        if turn.role == "developer":
            self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
        own = bool(self._messages) and self._wanted.quirks.mid_system
        blocks: list[dict[str, Any]] = [] if own else self.system
        before = len(blocks)
        for part in (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content:
            self._text(blocks, part, at)
        if own:
            self._add("system", "system", blocks, at)
        elif self._messages and len(blocks) > before:
            self._losses.add("merged", f"messages[{at}]", "a later system turn joins the system text at the top")

    def _without_system(self) -> None:
        """The model takes no system text: it becomes the first thing the user says."""
        self._losses.add("converted", "messages", "the model takes no system text: it is sent as the user's")
        if self._messages and self._messages[0]["role"] == "user":
            self._messages[0]["content"][:0] = self.system
        else:
            self._messages.insert(0, {"role": "user", "content": self.system})
        self.system = []

    def _without_turns(self) -> None:
        """The API wants one user message at least: what there is of system text becomes it."""
        if self.system:
            self._losses.add("converted", "messages", "without another turn the system text is sent as the user's")
        self._messages.append({"role": "user", "content": self.system})
        self.system = []

    # -- the user

    def _user(self, turn: UserTurn, at: int) -> None:
        if turn.name is not None:
            self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
        self._add("user", "user", self._blocks(turn.content, at), at)

    def _blocks(self, content: UserContent, at: int) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        for part in (TextPart(text=content),) if isinstance(content, str) else content:
            if isinstance(part, TextPart):
                self._text(blocks, part, at)
                continue
            block = self._image(part, at) if isinstance(part, ImagePart) else self._file(part, at)
            if block is not None:
                blocks.append(block)
            self._points.after(blocks, part.cache, f"messages[{at}].content.cache")
        return blocks

    def _text(self, blocks: list[dict[str, Any]], part: TextPart, at: int) -> None:
        if part.text.strip():
            blocks.append({"text": part.text})
        else:
            self._losses.add("dropped", f"messages[{at}].content", "blocks of blank text are refused")
        self._points.after(blocks, part.cache, f"messages[{at}].content.cache")

    def _image(self, part: ImagePart, at: int) -> dict[str, Any] | None:
        field = f"messages[{at}].content.image"
        if self._wanted.refused("images", field=field):
            return None
        if part.detail not in {None, "auto"}:
            self._losses.add("dropped", f"messages[{at}].content.detail", "the wire format has no word for it")
        data = image_data(part)
        media_type = data[0] if data is not None else part.media_type or guessed(part.url or "")
        form = IMAGES.get(media_type.lower())
        if form is None:
            self._losses.add("dropped", field, f"images are png, jpeg, gif or webp, not {media_type[:80]!r}")
            return None
        source = {"bytes": data[1]} if data is not None else self._elsewhere(part.url or "", field)
        return {"image": {"format": form, "source": source}} if source else None

    def _file(self, part: FilePart, at: int) -> dict[str, Any] | None:
        field = f"messages[{at}].content.file"
        if self._wanted.refused("files", field=field):
            return None
        inline = split_data_url(part.url) if part.url is not None else None
        data = part.data if part.data is not None else inline[1] if inline else None
        source = {"bytes": data} if data is not None else self._elsewhere(part.url or "", field)
        if not source:
            return None
        media_type = part.media_type.partition(";")[0].strip().lower()
        if media_type in RECORDINGS:
            kind, form = RECORDINGS[media_type]
            if part.name is not None:
                self._losses.add("dropped", f"{field}.name", "recordings have none")
            return {kind: {"format": form, "source": source}}
        form = DOCUMENTS.get(media_type, "")
        if not form and TEXTUAL.fullmatch(media_type):
            self._losses.add("converted", field, f"{media_type} is sent as plain text")
            form = "txt"
        if not form:
            self._losses.add("dropped", field, f"the API has no form for {media_type[:80]!r}")
            return None
        name = document_name(part.name, self._taken)
        if part.name is not None and name != part.name:
            self._losses.add("renamed", f"{field}.name", f"{part.name[:80]!r} is sent as {name[:80]!r}")
        return {"document": {"format": form, "name": name, "source": source}}

    def _elsewhere(self, url: str, field: str) -> dict[str, Any] | None:
        if url.startswith("s3://"):
            return {"s3Location": {"uri": url}}
        self._losses.add("dropped", field, "it is sent by its data or by an s3:// address, and by no other address")
        return None

    def _with_text(self, blocks: list[dict[str, Any]]) -> None:
        """A message with a document must have text too."""
        names = [block["document"]["name"] for block in blocks if "document" in block]
        if names and not any("text" in block for block in blocks):
            self._losses.add("rewritten", "messages", "a document wants text beside it: its name is said")
            blocks.append({"text": ", ".join(names)})

    # -- the assistant

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        blocks: list[dict[str, Any]] = []
        for part in (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content:
            match part:
                case TextPart():
                    self._text(blocks, part, at)
                case RefusalPart():
                    self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
                    self._text(blocks, TextPart(text=part.text), at)
                case ReasoningPart():
                    block = self._reasoning(part, at)
                    if block is not None:
                        blocks.append(block)
                case ToolCallPart():
                    blocks.append(self._call(part, at))
        self._add("assistant", "assistant", blocks, at)

    def _reasoning(self, part: ReasoningPart, at: int) -> dict[str, Any] | None:
        if fits(part, self._family) and part.redacted:
            if part.text:
                self._losses.add("dropped", f"messages[{at}].reasoning", "only its sealed form is sent back")
            return {"reasoningContent": {"redactedContent": redacted_sent(part.redacted)}}
        if fits(part, self._family) and part.signature:
            return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}
        if part.text or part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning", "it has no signature of this model's family")
        return None

    def _call(self, part: ToolCallPart, at: int) -> dict[str, Any]:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        given = objects(part.arguments, self._losses, f"messages[{at}].tool_call.arguments")
        return {"toolUse": {"toolUseId": self._ids.sent(part.id), "name": self._names.sent(part.name), "input": given}}

    def _trim_prefill(self, blocks: list[dict[str, Any]]) -> None:
        """The beginning of an answer may not end in blanks."""
        text = blocks[-1].get("text")
        if text is not None and text != text.rstrip():
            blocks[-1]["text"] = text.rstrip()
            self._losses.add("rewritten", "messages", "blanks at the end of the last assistant turn are cut off")

    # -- tools

    def _result(self, turn: ToolTurn, at: int) -> None:
        """A result; what it may not hold stands behind it."""
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        inside: list[dict[str, Any]] = []
        for part in parts:
            if isinstance(part, TextPart):
                if part.text.strip():
                    inside.append({"text": part.text})
                elif part.text:
                    self._losses.add("dropped", f"messages[{at}].content", "blocks of blank text are refused")
                continue
            block = self._image(part, at) if isinstance(part, ImagePart) else self._file(part, at)
            if block is not None:
                inside.append(block)
        beside: list[dict[str, Any]] = []
        if not self._wanted.quirks.result_images:
            beside = [block for block in inside if "text" not in block]
            inside = [block for block in inside if "text" in block]
            if beside:
                self._losses.add("converted", f"messages[{at}].content", "what is no text is sent beside the result")
        result: dict[str, Any] = {"toolUseId": self._ids.sent(turn.tool_call_id), "content": inside}
        if turn.is_error:
            result["status"] = "error"
        blocks = [{"toolResult": result}, *beside]
        for part in parts:
            self._points.after(blocks, part.cache, f"messages[{at}].content.cache")
        self._add("user", "tool", blocks, at)


def redacted_sent(data: str) -> str:
    """Opaque reasoning as it goes over this wire: base64 of what its maker calls the data."""
    return data.removeprefix(AS_IT_IS) if data.startswith(AS_IT_IS) else b64encode(data.encode("utf-8")).decode()

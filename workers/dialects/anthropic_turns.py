"""The turns of a conversation as Anthropic's messages, and the system text that stands above them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from job_contracts.chat import (
    AssistantTurn,
    ImagePart,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from workers.dialects.anthropic_cache import MESSAGES, SYSTEM
from workers.dialects.encoding import Ids, fits, objects
from workers.dialects.media import media_of
from workers.dialects.pairs import OPENING, paired

if TYPE_CHECKING:
    from job_contracts.chat import Conversation, FilePart, Turn, UserContent
    from workers.dialects.anthropic_cache import Marks
    from workers.dialects.encoding import Names, Wanted
    from workers.dialects.media import Media
    from workers.dialects.port import Target

IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
GO_ON = "(Go on.)"
"""The user's turn that is added where a model does not continue an answer that was begun for it."""

Block = dict[str, Any]


class Messages:
    """Messages and system blocks; cache marks go to ``marks``."""

    __slots__ = ("_family", "_ids", "_losses", "_marks", "_messages", "_names", "_turns", "_wanted", "system")

    def __init__(self, conversation: Conversation, target: Target, wanted: Wanted, names: Names, marks: Marks) -> None:
        self._family = target.model.family
        self._wanted = wanted
        self._losses = wanted.losses
        self._names = names
        self._marks = marks
        self._turns = paired(conversation, wanted.losses)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._messages: list[Block] = []
        self.system: list[Block] = []

    def all(self) -> list[Block]:
        """The messages, the user's first where the API wants it so."""
        for at, turn in self._turns:
            self._take(at, turn)
        if not self._messages:
            self._without_turns()
        elif self._messages[0]["role"] == "assistant" and self._wanted.quirks.user_first:
            self._losses.add("rewritten", "messages[0]", "the user's turn must come first: one is put before it")
            self._messages.insert(0, {"role": "user", "content": OPENING})
        return self._messages

    def finish(self, *, thinks: bool) -> None:
        """See to the beginning of an answer that stands at the end: it may not be taken, nor end in blanks."""
        last = self._messages[-1]
        if last["role"] != "assistant":
            return
        if not self._wanted.quirks.prefill or thinks:
            why = "while it thinks" if self._wanted.quirks.prefill else "at all"
            self._losses.add(
                "rewritten", "messages", f"the model continues no begun answer {why}: it is asked to go on"
            )
            self._messages.append({"role": "user", "content": GO_ON})
            return
        block = last["content"][-1]
        if block["type"] == "text" and block["text"] != block["text"].rstrip():
            block["text"] = block["text"].rstrip()
            self._losses.add("rewritten", "messages", "blanks at the end of the last assistant turn are cut off")

    @property
    def calls_without_thought(self) -> bool:
        """Whether the model is in the middle of calling, and began that without thinking as far as can be shown."""
        messages = self._messages
        first, at = None, len(messages) - 1
        while at > 0 and _holds_results(messages[at], only=True):
            at -= 1
            while at >= 0 and messages[at]["role"] == "assistant":
                first = messages[at]
                at -= 1
        return first is not None and first["content"][0]["type"] not in {"thinking", "redacted_thinking"}

    def _take(self, at: int, turn: Turn) -> None:
        match turn:
            case UserTurn():
                self._user(turn, at)
            case AssistantTurn():
                self._assistant(turn, at)
            case SystemTurn():
                self._system(turn, at)
            case ToolTurn():
                self._tool(turn, at)

    def _system(self, turn: SystemTurn, at: int) -> None:
        content = turn.content
        if turn.role == "developer":
            self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
        parts = (TextPart(text=content),) if isinstance(content, str) else content
        within = bool(self._messages) and self._wanted.quirks.mid_system
        blocks = [block for part in parts if (block := self._text(part, at, place=MESSAGES if within else SYSTEM))]
        if self._messages and blocks:
            if within:
                self._messages.append({"role": "system", "content": blocks})
                return
            self._losses.add("merged", f"messages[{at}]", "a later system turn joins the system text at the top")
        self.system += blocks

    def _text(self, part: TextPart | RefusalPart, at: int, *, place: int = MESSAGES) -> Block | None:
        cache = part.cache if isinstance(part, TextPart) else None
        if part.text.strip():
            return self._marked({"type": "text", "text": part.text}, cache, at, place=place)
        self._losses.add("dropped", f"messages[{at}].content", "blocks of blank text are refused")
        if cache:
            self._losses.add("dropped", f"messages[{at}].content.cache", "its text is blank")
        return None

    def _marked(self, block: Block, cache: Any, at: int, *, place: int = MESSAGES) -> Block:
        if cache:
            self._marks.note(place, block, cache, f"messages[{at}].content.cache")
        return block

    def _user(self, turn: UserTurn, at: int) -> None:
        if turn.name is not None:
            self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
        content = turn.content
        last = self._messages[-1] if self._messages else None
        if isinstance(content, str) and content.strip() and not _holds_results(last):
            self._messages.append({"role": "user", "content": content})
            return
        blocks = self._blocks(content, at)
        if _holds_results(last):
            last["content"] += blocks
        elif blocks:
            self._messages.append({"role": "user", "content": blocks})

    def _blocks(self, content: UserContent, at: int, *, marked: bool = True) -> list[Block]:
        blocks: list[Block] = []
        for part in (TextPart(text=content),) if isinstance(content, str) else content:
            if isinstance(part, TextPart):
                block = self._text(part if marked else TextPart(text=part.text), at)
            else:
                block = self._media(part, at)
                if block is None and part.cache and marked:
                    self._losses.add("dropped", f"messages[{at}].content.cache", "what it marks is not sent")
                elif block is not None and marked:
                    self._marked(block, part.cache, at)
            if block is not None:
                blocks.append(block)
        return blocks

    def _media(self, part: ImagePart | FilePart, at: int) -> Block | None:
        field = f"messages[{at}].content"
        media = media_of(part)
        shown = part.type == "image" or media.type in IMAGES
        if self._wanted.refused("images" if shown else "files", field=field):
            return None
        if isinstance(part, ImagePart) and part.detail not in {None, "auto"}:
            self._losses.add("dropped", f"{field}.detail", "the wire format has no word for it")
        source = self._image(media) if shown else self._document(media, field)
        if source is None:
            what = f"{media.type or 'media'} {'by address' if media.data is None else 'data'}"
            self._losses.add("dropped", field, f"the API takes no {what} as {'an image' if shown else 'a document'}")
            return None
        block: Block = {"type": "image" if shown else "document", "source": source}
        if name := None if isinstance(part, ImagePart) else part.name:
            if shown:
                self._losses.add("dropped", f"{field}.name", "images have no names here")
            else:
                block["title"] = name
        return block

    def _image(self, media: Media) -> Block | None:
        if media.data is not None:
            known = media.type in IMAGES
            return {"type": "base64", "media_type": media.type, "data": media.data} if known else None
        return None if _is_elsewhere(media) else {"type": "url", "url": media.url}

    def _document(self, media: Media, field: str) -> Block | None:
        """PDF as data or by address, text as text; nothing else is read."""
        if media.type == "application/pdf":
            if media.data is not None:
                return {"type": "base64", "media_type": media.type, "data": media.data}
            return None if _is_elsewhere(media) else {"type": "url", "url": media.url}
        text = media.text() if media.is_text else None
        if text is None or not text.strip():
            return None
        if media.type != "text/plain":
            self._losses.add("converted", f"{field}.media_type", f"{media.type} is sent as text/plain")
        return {"type": "text", "media_type": "text/plain", "data": text}

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        blocks: list[Block] = []
        for part in parts:
            block: Block | None
            match part:
                case TextPart():
                    block = self._text(part, at)
                case RefusalPart():
                    self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
                    block = self._text(part, at)
                case ReasoningPart():
                    block = self._reasoning(part, at)
                case ToolCallPart():
                    block = self._call(part, at)
            if block is not None:
                blocks.append(block)
        if blocks:
            self._messages.append({"role": "assistant", "content": blocks})

    def _reasoning(self, part: ReasoningPart, at: int) -> Block | None:
        if fits(part, self._family) and part.redacted:
            if part.text:
                self._losses.add("dropped", f"messages[{at}].reasoning", "only its sealed form is sent back")
            return {"type": "redacted_thinking", "data": part.redacted}
        if fits(part, self._family) and part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        if part.text or part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning", "it has no signature of this model's family")
        return None

    def _call(self, part: ToolCallPart, at: int) -> Block:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        given = objects(part.arguments, self._losses, f"messages[{at}].tool_call.arguments")
        return {
            "type": "tool_use",
            "id": self._ids.sent(part.id),
            "name": self._names.sent(part.name),
            "input": given,
        }

    def _tool(self, turn: ToolTurn, at: int) -> None:
        """Results are blocks of the user message after the calls; a mark within one stands on the whole of it."""
        result: Block = {"type": "tool_result", "tool_use_id": self._ids.sent(turn.tool_call_id)}
        if isinstance(turn.content, str):
            if turn.content:
                result["content"] = turn.content
        else:
            if blocks := self._blocks(turn.content, at, marked=False):
                result["content"] = blocks
            self._mark_result(result, turn.content, at)
        if turn.is_error:
            result["is_error"] = True
        last = self._messages[-1] if self._messages else None
        if _holds_results(last) and last["content"][-1]["type"] == "tool_result":
            last["content"].append(result)
        else:
            self._messages.append({"role": "user", "content": [result]})

    def _mark_result(self, result: Block, parts: tuple[TextPart | ImagePart | FilePart, ...], at: int) -> None:
        marks = [part.cache for part in parts if part.cache]
        if not marks:
            return
        if len(marks) > 1 or not parts[-1].cache:
            detail = "cache marks within a result become one at its end"
            self._losses.add("merged", f"messages[{at}].content.cache", detail)
        self._marked(result, marks[-1], at)

    def _without_turns(self) -> None:
        """The API wants one user message at least: what there is of system text becomes it."""
        if self.system:
            self._losses.add("converted", "messages", "without another turn the system text is sent as the user's")
        self._messages.append({"role": "user", "content": self.system or ""})
        self.system = []


def _is_elsewhere(media: Media) -> bool:
    """An address of a store that only its owner's own services read."""
    return (media.url or "").startswith(("gs://", "s3://", "file:"))


def _holds_results(message: Block | None, *, only: bool = False) -> TypeGuard[Block]:
    """Whether it is a user's message with results of tools in it (``only``: and nothing else); they stand first."""
    if message is None or message["role"] != "user" or not isinstance(message["content"], list):
        return False
    blocks = message["content"]
    return bool(blocks) and blocks[-1 if only else 0]["type"] == "tool_result"

"""The turns of a conversation as the input items of OpenAI's Responses API.

Items keep the order of what was said and called: https://platform.openai.com/docs/api-reference/responses/create. A
reasoning item goes back only where the item it led to directly follows it; the API refuses it anywhere else.
"""

from __future__ import annotations

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
from workers.dialects.encoding import Ids, data_url, fits, text_of, unmarked
from workers.dialects.openai_reasoning import unpacked
from workers.dialects.pairs import paired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_contracts.chat import Conversation, UserContent
    from job_contracts.results import LossKind
    from workers.dialects.encoding import Names, Wanted
    from workers.dialects.port import Target

Part = TextPart | ImagePart | FilePart


class Items:
    """The items of one request; ``instructions`` is the system prompt where it does not stand among them."""

    __slots__ = (
        "_beside", "_conversation", "_family", "_ids", "_items", "_losses", "_names", "_quirks", "_turns", "_wanted",
        "instructions",
    )  # fmt: skip

    def __init__(self, conversation: Conversation, target: Target, wanted: Wanted, names: Names) -> None:
        self._conversation = conversation
        self._family = target.model.family
        self._wanted = wanted
        self._quirks = wanted.quirks
        self._losses = wanted.losses
        self._names = names
        self._turns = paired(conversation, wanted.losses)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._items: list[dict[str, Any]] = []
        self._beside: list[dict[str, Any]] = []  # what a result shows and cannot hold here
        self.instructions = self._one_system_prompt()

    def all(self) -> list[dict[str, Any]]:
        unmarked(self._conversation, self._losses)
        for at, turn in self._turns:
            if self._beside and not isinstance(turn, ToolTurn):
                self._show_beside()
            match turn:
                case UserTurn():
                    self._user(turn, at)
                case AssistantTurn():
                    self._assistant(turn, at)
                case SystemTurn():
                    if at or self.instructions is None:
                        self._system(turn, at)
                case ToolTurn():
                    self._tool(turn, at)
        if self._beside:
            self._show_beside()
        return self._items or [{"role": "user", "content": ""}]  # no items at all is no request

    def _one_system_prompt(self) -> str | None:
        """The text of the only system turn, if it is the first turn, another follows, and it is one text."""
        first, *others = self._conversation.messages
        if not isinstance(first, SystemTurn) or not others or self._quirks.system_role == "user":
            return None
        if len(first.content) != 1 and not isinstance(first.content, str):
            return None
        if any(isinstance(turn, SystemTurn) for turn in others):
            return None
        return text_of(first.content) or None

    def _system(self, turn: SystemTurn, at: int) -> None:
        role = self._quirks.developer_role if turn.role == "developer" else self._quirks.system_role
        if role != turn.role:
            kind: LossKind = "converted" if role == "user" else "renamed"
            self._losses.add(kind, f"messages[{at}].role", f"{turn.role} is sent as {role}")
        self._items.append({"role": role, "content": self._content(turn.content, at)})

    def _user(self, turn: UserTurn, at: int) -> None:
        if turn.name is not None:
            self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
        self._items.append({"role": "user", "content": self._content(turn.content, at)})

    def _content(self, content: UserContent, at: int) -> Any:
        if isinstance(content, str):
            return content
        return [self._part(part, at) for part in self._kept(content, at)] or ""

    def _kept(self, parts: Iterable[Part], at: int) -> list[Part]:
        """The parts without those the target takes not at all."""
        kept = list(parts)
        field = f"messages[{at}].content"
        if any(isinstance(part, ImagePart) for part in kept) and self._wanted.refused("images", field=field):
            kept = [part for part in kept if not isinstance(part, ImagePart)]
        if any(isinstance(part, FilePart) for part in kept) and self._wanted.refused("files", field=field):
            kept = [part for part in kept if not isinstance(part, FilePart)]
        silent = [part for part in kept if not _is_recording(part)]
        if len(silent) < len(kept):
            self._losses.add("dropped", field, "the wire format takes no recordings of sound or film")
        return silent

    def _part(self, part: Part, at: int) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "input_text", "text": part.text}
        if isinstance(part, ImagePart):
            image: dict[str, Any] = {"type": "input_image", "image_url": data_url(part)}
            if part.detail is not None:
                image["detail"] = part.detail
            return image
        if part.url is not None:
            if part.name is not None:
                self._losses.add("dropped", f"messages[{at}].content.name", "a file by address has its address's name")
            return {"type": "input_file", "file_url": part.url}
        name = part.name
        if name is None:
            name = f"file.{part.media_type.rpartition('/')[2].partition(';')[0]}"
            self._losses.add("rewritten", f"messages[{at}].content.name", f"a file must have a name here: {name}")
        return {"type": "input_file", "filename": name, "file_data": f"data:{part.media_type};base64,{part.data}"}

    # -- what the model said

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        if isinstance(turn.content, str):
            self._items.append({"role": "assistant", "content": turn.content})
            return
        items: list[dict[str, Any]] = []
        for part in turn.content:
            match part:
                case TextPart():
                    _say(items, {"type": "output_text", "text": part.text})
                case RefusalPart():
                    _say(items, {"type": "refusal", "refusal": part.text})
                case ToolCallPart():
                    items.append(self._call(part, at))
                case ReasoningPart():
                    if (item := self._reasoning(part, at)) is not None:
                        items.append(item)
        for place, item in enumerate(items, 1):
            if _is_reasoning(item) and (place == len(items) or _is_reasoning(items[place])):
                detail = "what it led to does not follow it, and alone it is refused"
                self._losses.add("dropped", f"messages[{at}].reasoning", detail)
                continue
            self._items.append(_plain(item))

    def _reasoning(self, part: ReasoningPart, at: int) -> dict[str, Any] | None:
        if self._quirks.reasoning_items == "text" and part.text:
            if part.signature or part.redacted:
                self._losses.add("dropped", f"messages[{at}].reasoning.signature", "the target has no place for it")
            return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": part.text}]}
        if fits(part, self._family) and part.signature:
            item = unpacked(part)
            if item is not None:
                return item
        if part.text or part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning", "it has no signature of this model's family")
        return None

    def _call(self, part: ToolCallPart, at: int) -> dict[str, Any]:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        return {
            "type": "function_call",
            "call_id": self._ids.sent(part.id),
            "name": self._names.sent(part.name),
            "arguments": part.arguments,
        }

    def _tool(self, turn: ToolTurn, at: int) -> None:
        if turn.is_error:
            self._losses.add("dropped", f"messages[{at}].is_error", "the wire format has no word for it")
        output: Any = turn.content
        if not isinstance(output, str):
            output = self._output(self._kept(output, at), at)
        call = self._ids.sent(turn.tool_call_id)
        self._items.append({"type": "function_call_output", "call_id": call, "output": output})

    def _output(self, parts: list[Part], at: int) -> Any:
        texts = [part for part in parts if isinstance(part, TextPart)]
        if self._quirks.output_parts:
            plain = len(parts) == len(texts) == 1
            return texts[0].text if plain else [self._part(part, at) for part in parts] or ""
        shown = [self._part(part, at) for part in parts if not isinstance(part, TextPart)]
        if shown:
            self._losses.add(
                "converted", f"messages[{at}].content", "images and files of a result follow in a user turn"
            )
            self._beside += shown
        if len(texts) > 1:
            self._losses.add("merged", f"messages[{at}].content", "text parts of a result are joined")
        return text_of(tuple(texts))

    def _show_beside(self) -> None:
        self._items.append({"role": "user", "content": self._beside})
        self._beside = []


def _say(items: list[dict[str, Any]], content: dict[str, Any]) -> None:
    """More of what the model said: neighbours are parts of one message, the one kind of item that names no type."""
    if items and "type" not in items[-1]:
        items[-1]["content"].append(content)
    else:
        items.append({"role": "assistant", "content": [content]})


def _is_reasoning(item: dict[str, Any]) -> bool:
    return item.get("type") == "reasoning"


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """A message of one text as every copy of the API takes it."""
    if "type" not in item and len(item["content"]) == 1 and item["content"][0]["type"] == "output_text":
        return {"role": "assistant", "content": item["content"][0]["text"]}
    return item


def _is_recording(part: Part) -> bool:
    return isinstance(part, FilePart) and part.media_type.partition("/")[0] in {"audio", "video"}

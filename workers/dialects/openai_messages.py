"""The turns of a conversation as messages of OpenAI's chat completions, in the order and the roles a target takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job_contracts.chat import (
    AssistantTurn,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from workers.dialects.encoding import Ids, text_of
from workers.dialects.openai_details import details_of
from workers.dialects.openai_parts import Parts
from workers.dialects.pairs import paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.chat import Conversation, Turn, UserContent, UserPart
    from job_contracts.results import LossKind
    from workers.dialects.encoding import Names, Wanted

Message = dict[str, Any]


class Messages:
    """Encodes the turns of one conversation."""

    __slots__ = (
        "_family",
        "_ids",
        "_losses",
        "_messages",
        "_names",
        "_parts",
        "_quirks",
        "_shown",
        "_thinks",
        "_toolless",
        "_turns",
        "_wanted",
        "reasoned",
    )  # fmt: skip

    def __init__(
        self, conversation: Conversation, wanted: Wanted, names: Names, parts: Parts, *, family: str = ""
    ) -> None:
        self._family = family
        self._wanted = wanted
        self._quirks = wanted.quirks
        self._losses = wanted.losses
        self._names = names
        self._parts = parts
        self._turns = paired(conversation, wanted.losses)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._messages: list[Message] = []
        self._shown: list[Message] = []
        """Images and files of results, to follow in a user turn."""
        self._thinks = _with_tools(conversation.messages) if wanted.quirks.reasoning_for == "tools" else None
        self._toolless = "tools" in wanted.quirks.refuses
        self.reasoned = False
        """Whether earlier reasoning is sent back."""

    def all(self) -> list[Message]:
        """The messages."""
        for at, turn in self._turns:
            if self._shown and not isinstance(turn, ToolTurn):
                self._show()
            match turn:
                case UserTurn():
                    self._user(turn, at)
                case AssistantTurn():
                    self._assistant(turn, at)
                case SystemTurn():
                    self._system(turn, at)
                case ToolTurn():
                    self._tool(turn, at)
        if self._shown:
            self._show()
        if self._quirks.system_place != "any":
            self._messages = self._system_first()
        if self._quirks.alternating:
            self._messages = self._alternating()
        last = self._messages[-1] if self._messages else None
        if self._quirks.prefill_field and last and last["role"] == "assistant" and "tool_calls" not in last:
            last[self._quirks.prefill_field] = True
        return self._messages

    # -- system and user

    def _system(self, turn: SystemTurn, at: int) -> None:
        role = self._quirks.developer_role if turn.role == "developer" else self._quirks.system_role
        if role != turn.role:
            kind: LossKind = "converted" if role == "user" else "renamed"
            self._losses.add(kind, f"messages[{at}].role", f"{turn.role} is sent as {role}")
        self._messages.append({"role": role, "content": self._content(turn.content, at)})

    def _user(self, turn: UserTurn, at: int) -> None:
        message: Message = {"role": "user", "content": self._content(turn.content, at)}
        if turn.name is not None and not self._wanted.refused("name", field=f"messages[{at}].name"):
            message["name"] = turn.name
        self._messages.append(message)

    def _content(self, content: UserContent, at: int) -> Any:
        if isinstance(content, str):
            return content
        if self._quirks.joined_text and all(isinstance(part, TextPart) for part in content):
            self._unmark(content, at)
            if len(content) > 1:
                self._losses.add("merged", f"messages[{at}].content", "text parts are joined")
            return text_of(content)
        return self._parts.all(content, f"messages[{at}].content") or ""

    def _unmark(self, texts: Sequence[UserPart], at: int) -> None:
        """Texts that are joined bear no mark."""
        if self._quirks.cache_as and any(part.cache for part in texts):
            self._losses.add("dropped", f"messages[{at}].content.cache", "text parts are joined")

    # -- assistant

    def _assistant(self, turn: AssistantTurn, at: int) -> None:
        if isinstance(turn.content, str):
            self._messages.append({"role": "assistant", "content": turn.content})
            return
        texts: list[TextPart] = []
        calls: list[Message] = []
        reasoning: list[ReasoningPart] = []
        refusals: list[str] = []
        reordered = False
        for part in turn.content:
            match part:
                case TextPart():
                    texts.append(part)
                    reordered = reordered or bool(calls or refusals)
                case ToolCallPart() if self._toolless:
                    texts.append(TextPart(text=f"[called {part.name} with {part.arguments}]"))
                    self._losses.add("converted", f"messages[{at}].tool_call", "the model takes no tools: told as text")
                case ToolCallPart():
                    calls.append(self._call(part, at))
                case ReasoningPart():
                    reasoning.append(part)
                case RefusalPart():
                    refusals.append(part.text)
                    reordered = reordered or bool(calls)
        if reordered:
            self._losses.add("rewritten", f"messages[{at}].content", "text is sent first, then refusals, then calls")
        message: Message = {"role": "assistant", "content": None}
        self._put_texts(message, texts, at)
        if reasoning:
            self._put_reasoning(message, reasoning, at)
        if refusals:
            message["refusal"] = "".join(refusals)
            if len(refusals) > 1:
                self._losses.add("merged", f"messages[{at}].refusal", "refusals are joined")
        if calls:
            message["tool_calls"] = calls
        elif message["content"] is None and not refusals:
            message["content"] = ""
        self._messages.append(message)

    def _put_texts(self, message: Message, texts: list[TextPart], at: int) -> None:
        marked = self._quirks.cache_as and any(part.cache for part in texts)
        if len(texts) == 1 and not marked:
            message["content"] = texts[0].text
        elif texts and self._quirks.joined_text:
            self._unmark(texts, at)
            self._losses.add("merged", f"messages[{at}].content", "text parts are joined")
            message["content"] = "".join(part.text for part in texts)
        elif texts:
            message["content"] = self._parts.all(tuple(texts), f"messages[{at}].content")

    def _put_reasoning(self, message: Message, parts: list[ReasoningPart], at: int) -> None:
        field = self._quirks.reasoning_history
        if field == "reasoning_details":
            details = details_of(parts, self._family)
            if details is not None:
                self.reasoned = True
                message["reasoning_details"] = details
                return
            field = "reasoning"
        if any(part.signature or part.redacted for part in parts):
            self._losses.add("dropped", f"messages[{at}].reasoning.signature", "the wire format has no place for it")
        text = "".join(part.text for part in parts)
        if not text:
            return
        if self._thinks is not None and at not in self._thinks:
            self._losses.add("dropped", f"messages[{at}].reasoning", "reasoning goes back only where tools were called")
        elif not field:
            self._losses.add("dropped", f"messages[{at}].reasoning", "earlier reasoning is not sent back here")
        elif field == "content":
            self.reasoned = True
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
            message["content"] = [thinking, *_as_list(message["content"])]
        else:
            self.reasoned = True
            message[field] = text

    def _call(self, part: ToolCallPart, at: int) -> Message:
        if part.signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "the wire format has no place for it")
        function = {"name": self._names.sent(part.name), "arguments": part.arguments}
        return {"id": self._ids.sent(part.id), "type": "function", "function": function}

    # -- results of tools

    def _tool(self, turn: ToolTurn, at: int) -> None:
        content: Any = turn.content
        if not isinstance(content, str):
            field = f"messages[{at}].content"
            shown = self._parts.all(tuple(part for part in content if not isinstance(part, TextPart)), field)
            if shown:
                self._losses.add("converted", field, "images and files of a result follow in a user turn")
                self._shown += shown
            texts = tuple(part for part in content if isinstance(part, TextPart))
            content = self._content(texts, at) if texts else ""
        if turn.is_error:
            self._losses.add("dropped", f"messages[{at}].is_error", "the wire format has no word for it")
        if self._toolless:
            self._losses.add(
                "converted", f"messages[{at}]", "the model takes no tools: the result is sent as a user turn"
            )
            self._messages.append({"role": "user", "content": content})
            return
        self._messages.append({"role": "tool", "tool_call_id": self._ids.sent(turn.tool_call_id), "content": content})

    def _show(self) -> None:
        self._messages.append({"role": "user", "content": self._shown})
        self._shown = []

    # -- order

    def _system_first(self) -> list[Message]:
        """Instructions before all others, as one where the target takes only one."""
        roles = {"system", "developer"}
        systems = [message for message in self._messages if message["role"] in roles]
        others = [message for message in self._messages if message["role"] not in roles]
        if [*systems, *others] != self._messages:
            self._losses.add("rewritten", "messages", "system turns are moved before all others")
        if self._quirks.system_place == "one" and len(systems) > 1:
            self._losses.add("merged", "messages", "system turns are one")
            content = systems[0]["content"]
            for message in systems[1:]:
                content = _joined(content, message["content"])
            systems = [{"role": systems[0]["role"], "content": content}]
        return [*systems, *others]

    def _alternating(self) -> list[Message]:
        """Neighbours of one role as one message, as far as they hold nothing but content."""
        merged: list[Message] = []
        for message in self._messages:
            last = merged[-1] if merged else None
            if (
                last is not None
                and message["role"] == last["role"] in {"user", "assistant"}
                and last.keys() == message.keys() == {"role", "content"}
            ):
                last["content"] = _joined(last["content"], message["content"])
                self._losses.add("merged", "messages", f"neighbouring {message['role']} turns are one")
            else:
                merged.append(message)
        return merged


def _with_tools(turns: tuple[Turn, ...]) -> frozenset[int]:
    """Places of the turns of all exchanges (from one user turn to the next) in which tools were called."""
    found: set[int] = set()
    exchange: list[int] = []
    called = False
    for at, turn in enumerate(turns):
        if isinstance(turn, UserTurn):
            found.update(exchange if called else ())
            exchange, called = [], False
        elif isinstance(turn, AssistantTurn) and not isinstance(turn.content, str):
            called = called or any(isinstance(part, ToolCallPart) for part in turn.content)
        exchange.append(at)
    found.update(exchange if called else ())
    return frozenset(found)


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_list(first), *_as_list(second)]


def _as_list(content: Any) -> list[Any]:
    if content is None or content == "":
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content

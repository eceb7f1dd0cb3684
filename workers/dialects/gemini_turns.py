"""The turns of a conversation as Gemini's contents, and the system text beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from workers.dialects.encoding import Ids, fits, json_object, objects, text_of, unmarked
from workers.dialects.media import media_of
from workers.dialects.pairs import OPENING, paired

if TYPE_CHECKING:
    from job_contracts.chat import Conversation, FilePart, Turn, UserContent
    from workers.dialects.encoding import Names, Wanted
    from workers.dialects.media import Media
    from workers.dialects.port import Target

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif"})
_TAKEN = ("audio/", "video/", "text/")

Part = dict[str, Any]


class Contents:
    """Contents in two roles, and the parts of the system instruction."""

    __slots__ = (
        "_called", "_contents", "_conversation", "_family", "_ids", "_losses", "_names", "_placed", "_quirks", "_turns",
        "_wanted", "system",
    )  # fmt: skip

    def __init__(self, conversation: Conversation, target: Target, wanted: Wanted, names: Names) -> None:
        self._conversation = conversation
        self._family = target.model.family
        self._wanted = wanted
        self._quirks = wanted.quirks
        self._losses = wanted.losses
        self._names = names
        self._turns = paired(conversation, wanted.losses, call_order=not wanted.quirks.call_ids)
        self._ids = Ids(self._turns, wanted.quirks, wanted.losses)
        self._contents: list[Part] = []
        self._called: dict[str, str] = {}
        self._placed = 0  # results in the content that is being made
        self.system: list[Part] = []

    def all(self) -> list[Part]:
        """The contents, the user's first."""
        results: Part | None = None
        for at, turn in self._turns:
            if isinstance(turn, ToolTurn):
                if results is None or self._contents[-1] is not results:
                    results = {"role": "user", "parts": []}
                    self._contents.append(results)
                    self._placed = 0
                self._tool(turn, at, results["parts"])
            else:
                self._take(at, turn)
        if not self._contents:
            self._without_turns()
        elif self._contents[0]["role"] == "model":
            self._losses.add("rewritten", "messages[0]", "the user's turn must come first: one is put before it")
            self._contents.insert(0, {"role": "user", "parts": [{"text": OPENING}]})
        unmarked(self._conversation, self._losses)
        return self._contents

    def _take(self, at: int, turn: Turn) -> None:
        match turn:
            case UserTurn():
                if turn.name is not None:
                    self._losses.add("dropped", f"messages[{at}].name", "the wire format has no word for it")
                if parts := self._parts(turn.content, at):
                    self._contents.append({"role": "user", "parts": parts})
            case AssistantTurn():
                if parts := self._assistant(turn, at):
                    self._contents.append({"role": "model", "parts": parts})
            case SystemTurn():
                self._system(turn, at)

    def _system(self, turn: SystemTurn, at: int) -> None:
        parts = self._parts(turn.content, at)
        if turn.role == "developer":
            self._losses.add("renamed", f"messages[{at}].role", "developer is sent as system")
        if self._contents and parts:
            self._losses.add("merged", f"messages[{at}]", "a later system turn joins the system instruction")
        self.system += parts

    def _parts(self, content: UserContent | tuple[TextPart, ...], at: int) -> list[Part]:
        if isinstance(content, str):
            return self._text(content, at)
        parts: list[Part] = []
        for part in content:
            parts += self._text(part.text, at) if isinstance(part, TextPart) else self._media(part, at)
        return parts

    def _text(self, text: str, at: int) -> list[Part]:
        if text:
            return [{"text": text}]
        self._losses.add("dropped", f"messages[{at}].content", "parts of empty text are refused")
        return []

    # -- images and files

    def _media(self, part: ImagePart | FilePart, at: int) -> list[Part]:
        field = f"messages[{at}].content"
        media = media_of(part)
        shown = part.type == "image" or (media.type or "").startswith("image/")
        if self._wanted.refused("images" if shown else "files", field=field):
            return []
        if isinstance(part, ImagePart) and part.detail not in {None, "auto"}:
            self._losses.add("dropped", f"{field}.detail", "the wire format has no word for it")
        sent = self._source(media, field, name=None if isinstance(part, ImagePart) else part.name)
        return [] if sent is None else [sent]

    def _source(self, media: Media, field: str, *, name: str | None) -> Part | None:
        kind = media.type
        if media.is_text and kind is not None and not kind.startswith("text/"):
            self._losses.add("converted", f"{field}.media_type", f"{kind} is sent as text/plain")
            kind = "text/plain"
        if kind is not None and not _is_taken(kind, by_address=media.data is None):
            self._losses.add("dropped", field, f"the API takes no {kind}")
            return None
        if media.data is None and not self._quirks.url_media and not _is_own(media.url or ""):
            self._losses.add("dropped", field, "the API fetches nothing by this address: send the data")
            return None
        inner: Part = {} if kind is None else {"mimeType": kind}
        if name is not None:
            if self._quirks.file_names:
                inner["displayName"] = name
            else:
                self._losses.add("dropped", f"{field}.name", "the API takes no names of files")
        if media.data is not None:
            return {"inlineData": {**inner, "data": media.data}}
        return {"fileData": {**inner, "fileUri": media.url}}

    # -- what the model said

    def _assistant(self, turn: AssistantTurn, at: int) -> list[Part]:
        if isinstance(turn.content, str):
            return self._text(turn.content, at)
        parts: list[Part] = []
        stand_in = self._quirks.call_signature
        for part in turn.content:
            match part:
                case TextPart():
                    parts += self._text(part.text, at)
                case RefusalPart():
                    self._losses.add("converted", f"messages[{at}].refusal", "the refusal is sent as text")
                    parts += self._text(part.text, at)
                case ReasoningPart():
                    self._reasoning(part, at, parts)
                case ToolCallPart():
                    parts.append(self._call(part, at, stand_in))
                    stand_in = ""  # only the first of parallel calls bears one
        return parts

    def _reasoning(self, part: ReasoningPart, at: int, parts: list[Part]) -> None:
        """A thought with its signature, or a signature alone: that of the text before it, as the model gave it."""
        if fits(part, self._family) and part.signature:
            if part.text:
                parts.append({"text": part.text, "thought": True, "thoughtSignature": part.signature})
            elif parts and parts[-1].keys() == {"text"}:
                parts[-1]["thoughtSignature"] = part.signature
            else:
                parts.append({"text": "", "thoughtSignature": part.signature})
            return
        if part.text or part.signature or part.redacted:
            self._losses.add("dropped", f"messages[{at}].reasoning", "it has no signature of this model's family")

    def _call(self, part: ToolCallPart, at: int, stand_in: str) -> Part:
        name = self._names.sent(part.name)
        self._called[part.id] = name
        call: Part = {"name": name}
        call["args"] = objects(part.arguments, self._losses, f"messages[{at}].tool_call.arguments")
        if self._quirks.call_ids:
            call["id"] = self._ids.sent(part.id)
        sent: Part = {"functionCall": call}
        signature = part.signature if fits(part, self._family) else None
        if part.signature and not signature:
            self._losses.add("dropped", f"messages[{at}].tool_call.signature", "it is not of this model's family")
        if signature or stand_in:
            sent["thoughtSignature"] = signature or stand_in
        return sent

    # -- what the tools said

    def _tool(self, turn: ToolTurn, at: int, parts: list[Part]) -> None:
        """A result, its images and files within it where the model takes them there, else after all results."""
        response: Part = {"name": self._called[turn.tool_call_id], "response": self._response(turn, at)}
        if self._quirks.call_ids:
            response["id"] = self._ids.sent(turn.tool_call_id)
        shown = self._shown(turn, at)
        if shown and self._quirks.result_images:
            response["parts"], shown = shown, []
            places = [not isinstance(part, TextPart) for part in turn.content]
            if places != sorted(places):
                self._losses.add("rewritten", f"messages[{at}].content", "a result's text is sent before its images")
        # Results stay together at the front, what is shown of them follows.
        parts.insert(self._placed, {"functionResponse": response})
        self._placed += 1
        if shown:
            self._losses.add("converted", f"messages[{at}].content", "images and files of a result follow beside it")
            parts += shown

    def _shown(self, turn: ToolTurn, at: int) -> list[Part]:
        if isinstance(turn.content, str):
            return []
        shown: list[Part] = []
        for part in turn.content:
            if not isinstance(part, TextPart):
                shown += self._media(part, at)
        return shown

    def _response(self, turn: ToolTurn, at: int) -> Part:
        """An object as it is; any other text under the documented keys ``output`` and ``error``."""
        text = text_of(turn.content)
        texts = 1 if isinstance(turn.content, str) else sum(isinstance(part, TextPart) for part in turn.content)
        if not texts and turn.content and not turn.is_error:
            return {}
        if texts > 1:
            self._losses.add("merged", f"messages[{at}].content", "text parts of a result are joined")
        if not turn.is_error and text.lstrip()[:1] == "{":
            value = json_object(text)
            if value is not None:
                return value
        return {"error" if turn.is_error else "output": text}

    def _without_turns(self) -> None:
        """The API wants contents: what there is of system text becomes them."""
        if self.system:
            self._losses.add("converted", "messages", "without another turn the system text is sent as the user's")
        self._contents.append({"role": "user", "parts": self.system or [{"text": ""}]})
        self.system = []


def _is_taken(kind: str, *, by_address: bool) -> bool:
    """What lies elsewhere is judged where it is read: its type may be a guess."""
    if kind.startswith("image/"):
        return by_address or kind in IMAGES
    return kind == "application/pdf" or kind.startswith(_TAKEN)


def _is_own(url: str) -> bool:
    """Files given to Google before, and YouTube's, which every model reads."""
    return url.startswith(
        ("gs://", "https://generativelanguage.googleapis.com/", "https://www.youtube.com/", "https://youtu.be/")
    )

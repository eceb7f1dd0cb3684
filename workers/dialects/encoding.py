"""What the encoders share: losses, names and ids in the form a target takes, efforts, images, cache marks."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import from_json

from job_contracts.chat import (
    AssistantTurn,
    FilePart,
    ImagePart,
    NamedTool,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolTurn,
)
from job_contracts.results import Loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from catalogue.quirks import Quirks, Refusable
    from job_contracts.chat import Conversation, Settings, Turn
    from job_contracts.results import LossKind
    from workers.dialects.port import Target

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Reasoning efforts in rising order."""

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}
"""Thinking tokens for an effort, where a target counts tokens (the figures of Gemini's OpenAI-compatible endpoint)."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_NO_WORD = re.compile(r"[^A-Za-z0-9_-]")


class Losses(list[Loss]):
    """What could not be carried over as it was, in the order it was met."""

    def add(self, kind: LossKind, field: str, detail: str) -> None:
        """Note one."""
        self.append(Loss(kind=kind, field=field, detail=detail))


def refuses(quirks: Quirks, settings: Settings) -> frozenset[Refusable]:
    """The settings this target refuses for this conversation."""
    reasons = settings.reasoning_budget is not None or settings.reasoning_effort is not None
    if quirks.effort_refuses and reasons and settings.reasoning_effort != "none":
        return frozenset((*quirks.refuses, *quirks.effort_refuses))
    return frozenset(quirks.refuses)


class Wanted:
    """The settings to be sent, read one by one: what the target refuses is dropped on the way, with a loss."""

    __slots__ = ("_refused", "losses", "quirks", "settings")

    def __init__(self, settings: Settings, quirks: Quirks, losses: Losses) -> None:
        self.settings = settings
        self.quirks = quirks
        self.losses = losses
        self._refused = refuses(quirks, settings) if quirks.refuses or quirks.effort_refuses else frozenset()

    def refused(self, name: Refusable, *, field: str = "") -> bool:
        """Whether the target refuses it; if so the loss is noted."""
        if name in self._refused:
            self.losses.add("dropped", field or f"settings.{name}", "the model does not take it")
            return True
        return False

    def get(self, name: Refusable) -> Any:
        """The setting, ``None`` if unset or refused."""
        value = getattr(self.settings, name)
        return None if value is None or (self._refused and self.refused(name)) else value

    def unknown(self, *names: Refusable) -> None:
        """Settings this wire format has no word for."""
        for name in names:
            if getattr(self.settings, name) is not None:
                self.losses.add("dropped", f"settings.{name}", "the wire format has no word for it")

    def max_tokens(self, most: int | None) -> int | None:
        """Clamped to what the model can put out, if that is known."""
        asked = self.settings.max_tokens
        if asked is None or most is None or asked <= most:
            return asked
        self.losses.add("clamped", "settings.max_tokens", f"{asked} to the model's {most}")
        return most

    def temperature(self) -> float | None:
        """Clamped to the target's range."""
        value: float | None = self.get("temperature")
        if value is not None and value > self.quirks.temperature_max:
            self.losses.add("clamped", "settings.temperature", f"{value} to {self.quirks.temperature_max}")
            return self.quirks.temperature_max
        return value

    def stop(self) -> list[str]:
        """Cut to what the target takes."""
        stop = list(self.settings.stop)
        if not stop or (self._refused and self.refused("stop")):
            return []
        if len(stop) > self.quirks.stop_max:
            self.losses.add("clamped", "settings.stop", f"{len(stop)} sequences to the first {self.quirks.stop_max}")
        return stop[: self.quirks.stop_max]

    def effort(self) -> str | None:
        """The nearest effort the target knows, the higher of two equally near."""
        wanted: str | None = self.get("reasoning_effort")
        known = self.quirks.efforts
        if wanted is None or not known or wanted in known:
            return wanted
        place = EFFORTS.index(wanted)
        nearest = min(known, key=lambda effort: (abs(EFFORTS.index(effort) - place), -EFFORTS.index(effort)))
        self.losses.add("clamped", "settings.reasoning_effort", f"{wanted} to {nearest}")
        return nearest

    def tool_choice(self, conversation: Conversation) -> str | NamedTool | None:
        """``None`` too where there are no tools to choose from: every target refuses that."""
        choice: str | NamedTool | None = self.get("tool_choice")
        if choice is not None and not conversation.tools:
            if choice == "auto":
                self.losses.add("dropped", "settings.tool_choice", "there are no tools to choose from")
            return None
        return choice


class Names:
    """Tool names in the form a target takes, and the way back."""

    __slots__ = ("_sent", "back")

    def __init__(self, conversation: Conversation, quirks: Quirks, losses: Losses) -> None:
        self._sent: dict[str, str] = {}
        self.back: dict[str, str] = {}
        if quirks.tool_names == "any" and quirks.tool_name_max >= 128:
            return
        names = [tool.name for tool in conversation.tools]
        names += [part.name for turn in conversation.messages for part in _calls(turn)]
        taken = set(names)
        for name in dict.fromkeys(names):
            fitting = _fit(name, quirks.tool_name_max, taken, loose=quirks.tool_names == "any")
            if fitting != name:
                taken.add(fitting)
                self._sent[name] = fitting
                self.back[fitting] = name
                losses.add("renamed", "tools", f"{name!r} is sent as {fitting!r}")

    def sent(self, name: str) -> str:
        """The name as the target gets it."""
        return self._sent.get(name, name)


class Ids:
    """Tool call ids in the form a target takes; the same id in a call and in its result stays the same."""

    __slots__ = ("_sent",)

    def __init__(self, turns: Sequence[tuple[int, Turn]], quirks: Quirks, losses: Losses) -> None:
        self._sent: dict[str, str] = {}
        ids = [part.id for _, turn in turns for part in _calls(turn)]
        ids += [turn.tool_call_id for _, turn in turns if isinstance(turn, ToolTurn)]
        if not ids:
            return
        taken = set(ids)
        for given in dict.fromkeys(ids):
            if quirks.tool_ids == "alnum9":
                fitting = _nine(given)
            else:
                fitting = _fit(given, quirks.tool_id_max, taken, loose=quirks.tool_ids == "any")
            if fitting != given:
                taken.add(fitting)
                self._sent[given] = fitting
                losses.add("renamed", "tool_call_id", f"{given[:80]!r} is sent as {fitting!r}")

    def sent(self, id: str) -> str:
        """The id as the target gets it."""
        return self._sent.get(id, id)


def _calls(turn: Turn) -> Iterable[ToolCallPart]:
    if not isinstance(turn, AssistantTurn) or isinstance(turn.content, str):
        return ()
    return (part for part in turn.content if isinstance(part, ToolCallPart))


def _fit(name: str, most: int, taken: set[str], *, loose: bool) -> str:
    if 0 < len(name) <= most and (loose or _WORD.fullmatch(name)):
        return name
    plain = name if loose else _NO_WORD.sub("_", name)
    if 0 < len(plain) <= most and plain not in taken:
        return plain
    # Cut or clashing: the beginning for people, a digest of the whole to keep it apart.
    return f"{plain[: most - 9]}_{blake2b(name.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def _nine(id: str) -> str:
    if len(id) == 9 and id.isascii() and id.isalnum():
        return id
    number = int.from_bytes(blake2b(id.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    letters = []
    for _ in range(9):
        number, place = divmod(number, 62)
        letters.append(_ALPHABET[place])
    return "".join(letters)


def fits(part: ReasoningPart | ToolCallPart, family: str) -> bool:
    """Whether the part's signature may go to an endpoint of this family."""
    return bool(family) and part.origin == family


def path_of(target: Target, quirks: Quirks, usual: str, *, stream: str = "") -> str:
    """Where the request goes below the base URL: what the row says, else the dialect's own; ``{model}`` is filled in.

    ``stream`` is the dialect's own path for streamed answers, if it is another one.
    """
    path = quirks.path or usual
    if target.stream:
        path = quirks.stream_path or quirks.path or stream or usual
    return path.replace("{model}", quote(target.model.name, safe="@")) if "{model}" in path else path


def text_of(content: str | tuple[TextPart | ImagePart | FilePart, ...]) -> str:
    """The text of a content, parts joined."""
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, TextPart))


def data_url(part: ImagePart) -> str:
    """An image as one address: its own, or a ``data:`` URL (RFC 2397)."""
    return part.url if part.url is not None else f"data:{part.media_type};base64,{part.data}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 data of a ``data:`` URL, ``None`` for any other."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    return head.removesuffix(";base64").partition(";")[0] or "image/png", data


def image_data(part: ImagePart) -> tuple[str, str] | None:
    """Media type and base64 data of an image that came with its data, in whichever form."""
    if part.data is not None:
        return part.media_type or "image/png", part.data
    return split_data_url(part.url or "")


def kept_images(
    parts: tuple[TextPart | ImagePart | FilePart, ...], wanted: Wanted, field: str
) -> tuple[TextPart | ImagePart, ...]:
    """The parts without the images, where the target takes none, and without files."""
    kept = tuple(part for part in parts if not isinstance(part, FilePart))
    if len(kept) < len(parts):
        wanted.losses.add("dropped", field, "files are not sent here")
    if any(isinstance(part, ImagePart) for part in kept) and wanted.refused("images", field=field):
        return tuple(part for part in kept if isinstance(part, TextPart))
    return kept


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; ``None`` for any other text, and for one with numbers that no float can hold."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
    if not isinstance(value, dict) or (_HUGE.search(text) and _is_infinite(value)):
        return None
    return value


_HUGE = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{200}")


def _is_infinite(value: Any) -> bool:
    """Whether there is a number in it that overflowed: JSON has no word for what it became."""
    if isinstance(value, dict):
        return any(map(_is_infinite, value.values()))
    if isinstance(value, list):
        return any(map(_is_infinite, value))
    return isinstance(value, float) and math.isinf(value)


def objects(arguments: str, losses: Losses, field: str) -> dict[str, Any]:
    """Arguments of a call as an object, for targets that take no text; other text goes under ``arguments``."""
    text = arguments.strip()
    if not text:
        return {}
    value = json_object(text)
    if value is not None:
        return value
    losses.add("rewritten", field, "the arguments are no JSON object: they are sent under the key 'arguments'")
    try:
        other = from_json(text, allow_inf_nan=False)
    except ValueError:
        other = text
    return {"arguments": text if isinstance(other, dict) or _is_infinite(other) else other}


def marks(conversation: Conversation) -> Iterator[str]:
    """Where the conversation has cache marks, tools first."""
    for tool in conversation.tools:
        if tool.cache is not None:
            yield f"tools.{tool.name}.cache"
    for at, turn in enumerate(conversation.messages):
        if turn.content.__class__ is not str:
            for part in turn.content:
                if getattr(part, "cache", None) is not None:
                    yield f"messages[{at}].content.cache"


def unmarked(conversation: Conversation, losses: Losses) -> None:
    """For targets that find by themselves what to keep: one loss, at the first mark, tells of them all."""
    first = next(marks(conversation), None)
    if first is not None:
        losses.add("dropped", first, "marks are not sent: the target finds by itself what its cache can keep")

"""Parts of a content as OpenAI's chat completions and their copies take them: text, images, documents, recordings.

Documents: https://platform.openai.com/docs/guides/pdf-files, https://docs.mistral.ai (``document_url``),
https://docs.perplexity.ai (``file_url``). Recordings: https://platform.openai.com/docs/guides/audio. Text files are no
documents to most: they are sent as the text they are. What a target has no form for is dropped, and a loss says so.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from job_contracts.chat import FilePart, ImagePart, TextPart
from workers.dialects.encoding import data_url, split_data_url

if TYPE_CHECKING:
    from workers.dialects.encoding import Wanted

_FORMATS = {
    "mpeg": "mp3", "mp3": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-flac": "flac", "x-m4a": "m4a",
    "mp4": "m4a", "x-aiff": "aiff",
}  # fmt: skip
"""Subtypes of ``audio/`` whose short name is another one."""
_TEXTS = frozenset(
    f"application/{name}"
    for name in ("json", "xml", "yaml", "x-yaml", "toml", "javascript", "x-javascript", "x-python", "sql", "x-ndjson")
)
_NAMED = frozenset({"file", "text", "document_url", "file_url"})
"""Forms that show the model what a file is called."""
_NO_FORM = "the wire format has no place for files of this kind"


class Parts:
    """Encodes parts one by one, and notes what cannot be said."""

    __slots__ = ("_quirks", "_wanted")

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._quirks = wanted.quirks

    def all(self, parts: tuple[TextPart | ImagePart | FilePart, ...], at: str) -> list[dict[str, Any]]:
        """The parts of the content ``at`` that can be sent."""
        made = []
        without_images = any(isinstance(part, ImagePart) for part in parts) and self._wanted.refused("images", field=at)
        without_files = any(isinstance(part, FilePart) for part in parts) and self._wanted.refused("files", field=at)
        for part in parts:
            if isinstance(part, ImagePart):
                found = None if without_images else _image(part)
            elif isinstance(part, FilePart):
                found = None if without_files else self._file(part, at)
            else:
                found = {"type": "text", "text": part.text}
            if found is not None:
                if part.cache is not None:
                    self.mark(found, part.cache)
                made.append(found)
        return made

    def mark(self, found: dict[str, Any], keep: str) -> None:
        """Put a cache mark on something sent, in Anthropic's form, where the target has one."""
        if self._quirks.cache_as:
            found["cache_control"] = {"type": "ephemeral"} if keep == "5m" else {"type": "ephemeral", "ttl": keep}

    def _file(self, part: FilePart, at: str) -> dict[str, Any] | None:
        kind, subtype = _type_of(part)
        made: dict[str, Any] | None = None
        if kind == "image":
            return _image(ImagePart(url=part.url, data=part.data, media_type=part.media_type))
        if kind == "audio":
            made = self._recording(part, subtype)
        elif kind == "video":
            made = {"type": "video_url", "video_url": {"url": _address(part)}} if self._quirks.video_as else None
        elif kind == "text" or f"{kind}/{subtype}" in _TEXTS:
            made = self._text(part, at) or self._document(part)
        else:
            made = self._document(part)
        if made is None:
            self._wanted.losses.add("dropped", at, f"{part.media_type}: {_NO_FORM}")
        elif part.name and made["type"] not in _NAMED:
            self._wanted.losses.add("dropped", f"{at}.name", "the wire format has no place for a file's name")
        return made

    def _document(self, part: FilePart) -> dict[str, Any] | None:
        form = self._quirks.file_as
        if form == "document_url":
            named = {"document_name": part.name} if part.name else {}
            return {"type": "document_url", "document_url": _address(part), **named}
        if form == "file_url":
            named = {"file_name": part.name} if part.name else {}
            # The data stands alone here, without what a data: URL puts before it (docs.perplexity.ai).
            bare = split_data_url(part.url) if part.url is not None else None
            url = part.data or (bare[1] if bare else part.url)
            return {"type": "file_url", "file_url": {"url": url}, **named}
        held = part.data is not None or (part.url or "").startswith("data:")
        if form == "file" and (held or self._quirks.file_urls):
            name = part.name or f"file.{_type_of(part)[1]}"
            return {"type": "file", "file": {"filename": name, "file_data": _address(part)}}
        return None

    def _recording(self, part: FilePart, subtype: str) -> dict[str, Any] | None:
        form = self._quirks.audio_as
        short = _FORMATS.get(subtype, subtype)
        if form == "audio_url":
            return {"type": "audio_url", "audio_url": {"url": _address(part)}}
        if form == "plain":
            return {"type": "input_audio", "input_audio": part.data if part.data is not None else part.url}
        if form == "input_audio_url":
            return {"type": "input_audio", "input_audio": {"data": _address(part), "format": short}}
        bare = split_data_url(part.url) if part.url is not None else None
        data = part.data if part.data is not None else bare[1] if bare else None
        if form == "input_audio" and data is not None:
            return {"type": "input_audio", "input_audio": {"data": data, "format": short}}
        return None

    def _text(self, part: FilePart, at: str) -> dict[str, Any] | None:
        bare = split_data_url(part.url) if part.url is not None else None
        data = part.data if part.data is not None else bare[1] if bare else None
        if data is None:
            return None
        try:
            text = base64.b64decode(data, validate=True).decode("utf-8-sig")
        except (binascii.Error, ValueError):
            return None
        self._wanted.losses.add("converted", at, f"the file {part.name or part.media_type} is sent as the text in it")
        return {"type": "text", "text": f"{part.name}:\n{text}" if part.name else text}


def _image(part: ImagePart) -> dict[str, Any]:
    image: dict[str, Any] = {"url": data_url(part)}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _address(part: FilePart) -> str:
    """A file as one address: its own, or a ``data:`` URL (RFC 2397)."""
    return part.url if part.url is not None else f"data:{part.media_type};base64,{part.data}"


def _type_of(part: FilePart) -> tuple[str, str]:
    kind, _, subtype = part.media_type.partition(";")[0].strip().lower().partition("/")
    return kind, subtype

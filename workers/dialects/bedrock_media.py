"""What Converse calls images, documents and recordings: formats by media type, and names of documents.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html and its neighbours.
"""

from __future__ import annotations

import re

IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
RECORDINGS = {
    "audio/mpeg": ("audio", "mp3"),
    "audio/mp3": ("audio", "mp3"),
    "audio/wav": ("audio", "wav"),
    "audio/x-wav": ("audio", "wav"),
    "audio/ogg": ("audio", "ogg"),
    "audio/opus": ("audio", "opus"),
    "audio/flac": ("audio", "flac"),
    "audio/aac": ("audio", "aac"),
    "audio/mp4": ("audio", "m4a"),
    "audio/x-m4a": ("audio", "m4a"),
    "audio/webm": ("audio", "webm"),
    "video/mp4": ("video", "mp4"),
    "video/webm": ("video", "webm"),
    "video/quicktime": ("video", "mov"),
    "video/x-matroska": ("video", "mkv"),
    "video/mpeg": ("video", "mpeg"),
    "video/x-flv": ("video", "flv"),
    "video/x-ms-wmv": ("video", "wmv"),
    "video/3gpp": ("video", "three_gp"),
}
TEXTUAL = re.compile(r"text/.+|application/(?:json|xml|yaml|x-yaml|toml|javascript|.+\+(?:json|xml))")
"""What is text although the API has no format for it."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9\s()\[\]-]")
_LONGEST_NAME = 200


def guessed(url: str) -> str:
    """The media type of an image at an address, by its ending."""
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    return f"image/{'jpeg' if ending == 'jpg' else ending}"


def document_name(given: str | None, taken: set[str]) -> str:
    """Letters, digits, single blanks, ``-()[]``; none that is ``taken``, to which it is added."""
    name = given or "document"
    stem, dot, ending = name.rpartition(".")
    if dot and stem and len(ending) <= 5:
        name = stem  # the format says it
    name = " ".join(_NOT_IN_A_NAME.sub(" ", name).split())[: _LONGEST_NAME - 8] or "document"
    plain, number = name, 1
    while name in taken:
        number += 1
        name = f"{plain} {number}"
    taken.add(name)
    return name

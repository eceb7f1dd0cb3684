"""Images and files as the targets take them: where they come from, what they are, and text that is in them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from job_contracts.chat import FilePart, ImagePart

_SAME = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "application/x-pdf": "application/pdf"}
"""Media types people write for others."""
_TEXTS = frozenset(
    f"application/{name}"
    for name in (
        "json",
        "xml",
        "yaml",
        "x-yaml",
        "toml",
        "javascript",
        "x-javascript",
        "x-python",
        "x-sh",
        "sql",
        "x-ndjson",
    )
)
_ENDINGS = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "heic": "image/heic", "heif": "image/heif", "bmp": "image/bmp", "svg": "image/svg+xml", "avif": "image/avif",
}  # fmt: skip


class Media(NamedTuple):
    """What is to be shown: its type if that is known, and its base64 data or its address."""

    type: str | None
    data: str | None
    url: str | None

    @property
    def is_text(self) -> bool:
        """Whether it is read as text."""
        kind = self.type or ""
        return kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))

    def text(self) -> str | None:
        """The text in it, ``None`` where it came by address, is no base64 or no UTF-8."""
        if self.data is None:
            return None
        try:
            return base64.b64decode(self.data, validate=True).decode("utf-8-sig")
        except (binascii.Error, ValueError):
            return None


def media_of(part: ImagePart | FilePart) -> Media:
    """An image or a file; an address that holds its data (RFC 2397) is taken as data."""
    kind = plain_type(part.media_type) if part.media_type else None
    if part.data is not None:
        return Media(kind or "image/png", part.data, None)
    url = part.url or ""
    if url.startswith("data:") and "," in url:
        head, _, data = url[5:].partition(",")
        told = plain_type(head.removesuffix(";base64"))
        if not head.endswith(";base64"):
            data = base64.b64encode(unquote_to_bytes(data)).decode()
        usual = "image/png" if part.type == "image" else "text/plain"
        return Media(told or kind or usual, data, None)
    return Media(kind or (of_address(url) if part.type == "image" else None), None, url)


def plain_type(media_type: str) -> str:
    """A media type without parameters, in lower case, under its registered name."""
    plain = media_type.partition(";")[0].strip().lower()
    return _SAME.get(plain, plain)


def of_address(url: str) -> str | None:
    """What the end of the address says the picture is."""
    path = url.partition("?")[0].partition("#")[0]
    return _ENDINGS.get(path.rpartition(".")[2].lower())

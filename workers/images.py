"""Images in a form the target takes: other formats are converted, too large ones scaled down, each change a loss.

What a target takes are quirks of its row (``image_types``, ``image_max_bytes``, ``image_max_side``, ``image_urls``);
where they say nothing, nothing is looked at. What cannot be made fit fails before the call, for another deployment may
take it: a picture that silently goes missing gives a wrong answer. Pictures are foreign bytes: only formats of the list
below are opened, and none with more pixels than ``MOST_PIXELS``. The work is done in threads, few at a time.

Where the target takes no addresses of images they fail too, unless the operator lets workers fetch (``fetching``); an
address that holds the image itself (``data:``) is none.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from catalogue.quirks import Quirks, quirks_of
from job_contracts.chat import Conversation, ImagePart, Turn
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from workers.dialects.encoding import split_data_url
from workers.dialects.port import Target
from workers.fetching import Fetcher, Unfetched
from workers.http import CallFailed

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_PIXELS", "Images"]

MOST_PIXELS = 40_000_000
"""Of a picture that is opened: some 160 MB of memory. Small files can claim to be far larger."""
AT_ONCE = 2
"""Pictures in work at a time in one process."""
FETCHED_AT_ONCE = 8
"""Images on their way at a time: a slow server holds up neither other images nor the work on pictures."""
PATIENCE = 30.0
"""Seconds for all images of a conversation to be fetched."""
OPENED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Formats that are opened; a picture's own bytes say which it is, not its media type."""
_WRITTEN = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
"""Formats that are written."""
_QUALITY = 85
_ROUNDS = 8
"""Times a picture is made smaller at most."""
_SHRINK = 0.9
"""Further than the bytes alone would ask for, because smaller pictures compress less well."""
_BROKEN = (
    EOFError, IndexError, KeyError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
"""What the library runs into with pictures that are not what their head says."""


class _Unfit(Exception):
    """The picture cannot be made fit; says why."""


class _Made(NamedTuple):
    """A picture as it is sent, and what was done to it; no words if nothing was."""

    data: str
    media_type: str
    words: str


def _shows(turn: Turn) -> bool:
    return not isinstance(turn.content, str) and any(isinstance(part, ImagePart) for part in turn.content)


class Images:
    """A worker's way of making images fit."""

    def __init__(self, fetcher: Fetcher | None = None) -> None:
        self._fetcher = fetcher
        self._fetches = asyncio.Semaphore(FETCHED_AT_ONCE)
        # Threads of its own: one whose attempt was cancelled goes on, and holds its place until it is done.
        self._bench = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pictures")

    async def prepared(self, conversation: Conversation, target: Target) -> tuple[Conversation, tuple[Loss, ...]]:
        """The conversation with images the target takes. Raises CallFailed (``UNSUPPORTED_PARAM``) if one cannot be."""
        quirks = quirks_of(target.provider, target.model)
        if quirks.image_urls and not (quirks.image_types or quirks.image_max_bytes or quirks.image_max_side):
            return conversation, ()
        if not any(_shows(turn) for turn in conversation.messages):
            return conversation, ()
        turns: list[Turn] = []
        losses: list[Loss] = []
        until = asyncio.get_running_loop().time() + PATIENCE
        for place, turn in enumerate(conversation.messages):
            if isinstance(turn.content, str) or not _shows(turn):
                turns.append(turn)
                continue
            parts: list[Any] = []
            for at, part in enumerate(turn.content):
                field = f"messages[{place}].content[{at}]"
                if isinstance(part, ImagePart):
                    parts.append(await self._fit(part, target, field, losses, until))
                else:
                    parts.append(part)
            turns.append(turn.model_copy(update={"content": tuple(parts)}))
        return conversation.model_copy(update={"messages": tuple(turns)}), tuple(losses)

    async def _fit(self, part: ImagePart, target: Target, field: str, losses: list[Loss], until: float) -> ImagePart:
        quirks = quirks_of(target.provider, target.model)
        if part.url is not None and (held := split_data_url(part.url)) is not None:
            part = part.model_copy(update={"url": None, "media_type": held[0], "data": held[1]})
        if part.url is not None and (quirks.image_urls or part.url.startswith(quirks.image_stores)):
            return part
        if part.data is None:
            part = await self._fetched(part, target, field, losses, until)
        return await self._converted(part, part.data or "", target, field, losses)

    async def _fetched(
        self, part: ImagePart, target: Target, field: str, losses: list[Loss], until: float
    ) -> ImagePart:
        remedy = "send the image itself (data and media_type), or use a route to a model that fetches images"
        if self._fetcher is None:
            words = f"{target.model.name} takes no addresses of images, and workers fetch none"
            remedy += ", or have the operator let workers fetch them (workers.fetch_images)"
            raise CallFailed(_unsupported(field, words, remedy))
        words = f"the image cannot be sent to {target.model.name}, which takes no addresses: "
        try:
            async with asyncio.timeout_at(until), self._fetches:
                data, media_type = await self._fetcher.fetch(part.url or "")
        except Unfetched as why:
            raise CallFailed(_unsupported(field, f"{words}{why}", remedy)) from None
        except TimeoutError:
            words += f"those of its conversation did not all come within {PATIENCE:g} s"
            raise CallFailed(_unsupported(field, words, remedy)) from None
        detail = f"fetched from its address ({media_type}, {len(data) // 4 * 3} bytes): the model takes no addresses"
        losses.append(Loss(kind="converted", field=field, detail=detail))
        return part.model_copy(update={"url": None, "data": data, "media_type": media_type})

    async def _converted(self, part: ImagePart, data: str, target: Target, field: str, losses: list[Loss]) -> ImagePart:
        quirks = quirks_of(target.provider, target.model)
        told = (part.media_type or "").lower()
        media_type = "image/jpeg" if told == "image/jpg" else told
        known = not quirks.image_types or media_type in quirks.image_types
        small = not quirks.image_max_bytes or len(data) <= quirks.image_max_bytes
        if known and small and not quirks.image_max_side:
            return part if media_type == part.media_type else part.model_copy(update={"media_type": media_type})
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._bench, _made, data, media_type, quirks)
        except _Unfit as why:
            words = f"the image ({told or 'of no media type'}) cannot be sent to {target.model.name}: {why}"
            takes = f" of {', '.join(quirks.image_types)}" if quirks.image_types else ""
            raise CallFailed(_unsupported(field, words, f"send a smaller picture{takes}")) from None
        if made.words:
            losses.append(Loss(kind="converted", field=field, detail=made.words))
        return part.model_copy(update={"data": made.data, "media_type": made.media_type})


def _unsupported(field: str, words: str, remedy: str) -> Failure:
    return Failure(kind=FailureKind.UNSUPPORTED_PARAM, message=words, field=f"conversation.{field}", remedy=remedy)


def _made(data: str, media_type: str, quirks: Quirks) -> _Made:
    """The picture in a form that the quirks ask for. Runs in a thread. Raises _Unfit."""
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise _Unfit("its data is not base64") from None
    picture = _opened(raw)
    from PIL.Image import DecompressionBombError  # noqa: PLC0415 - as in _opened, which has found it

    try:
        return _fitting(picture, raw, data, media_type, quirks)
    except (*_BROKEN, DecompressionBombError) as error:
        raise _Unfit(f"its pixels are not readable ({type(error).__name__})") from None


def _fitting(picture: Image, raw: bytes, data: str, media_type: str, quirks: Quirks) -> _Made:
    """The picture as it is if it fits, else converted, scaled, or both."""
    known = not quirks.image_types or media_type in quirks.image_types
    most = quirks.image_max_bytes // 4 * 3  # of its own bytes, for the target counts them in base64
    few = not most or len(raw) <= most
    within = not quirks.image_max_side or max(picture.size) <= quirks.image_max_side
    if known and few and within:
        return _Made(data, media_type, "")
    wanted = _written_as(picture, media_type, quirks.image_types)
    whole = picture.size
    moving = getattr(picture, "n_frames", 1) > 1
    picture = _loaded(picture, alpha=wanted != "image/jpeg")
    if not within:
        picture.thumbnail((quirks.image_max_side, quirks.image_max_side))
    for _ in range(_ROUNDS):
        written = _bytes_of(picture, wanted)
        if not most or len(written) <= most:
            break
        factor = _SHRINK * min(1.0, (most / len(written)) ** 0.5)
        width, height = (max(1, int(side * factor)) for side in picture.size)
        picture = picture.resize((width, height))
    else:
        raise _Unfit(f"it cannot be made smaller than {most} bytes")
    size = f"{whole[0]}x{whole[1]}"
    scaled = size if picture.size == whole else f"{size} to {picture.size[0]}x{picture.size[1]}"
    first = ", of a moving picture the first frame" if moving else ""
    words = f"{media_type}, {len(raw)} bytes, to {wanted}, {len(written)} bytes ({scaled}{first})"
    return _Made(base64.b64encode(written).decode("ascii"), wanted, words)


def _opened(raw: bytes) -> Image:
    """The picture with nothing but its head read."""
    try:
        from PIL import Image  # noqa: PLC0415 - most workers never convert a picture
    except ImportError:
        raise _Unfit("the library to convert it (pillow) is not installed here") from None
    try:
        picture = Image.open(BytesIO(raw), formats=OPENED)
    except Image.DecompressionBombError:
        raise _Unfit(f"it has more than {MOST_PIXELS} pixels") from None
    except (*_BROKEN, Image.DecompressionBombWarning):
        raise _Unfit(f"it is not readable as one of {', '.join(OPENED)}") from None
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise _Unfit(f"it has {width}x{height} pixels, more than the {MOST_PIXELS} that are opened")
    return picture


def _loaded(picture: Image, *, alpha: bool) -> Image:
    """All its pixels, upright, in colours that every format has; without ``alpha`` on white."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - as above

    picture.load()
    picture = ImageOps.exif_transpose(picture)
    transparent = picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info
    if not transparent:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    if alpha:
        return picture
    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _written_as(picture: Image, media_type: str, types: tuple[str, ...]) -> str:
    """Its own format if that is taken and can be written; else JPEG for photographs, PNG for all others."""
    possible = [each for each in (types or tuple(_WRITTEN)) if each in _WRITTEN]
    if media_type in possible:
        return media_type
    usual = "image/jpeg" if picture.format in {"JPEG", "AVIF"} else "image/png"
    if usual in possible:
        return usual
    if not possible:
        raise _Unfit(f"none of {', '.join(types)} can be written here")
    return possible[0]


def _bytes_of(picture: Image, media_type: str) -> bytes:
    out = BytesIO()
    if media_type == "image/png":
        picture.save(out, "PNG")
    else:
        picture.save(out, _WRITTEN[media_type], quality=_QUALITY)
    return out.getvalue()

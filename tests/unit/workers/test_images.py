"""Images in a form the target takes: converted and scaled with a loss, refused where they cannot be."""

from __future__ import annotations

import asyncio
import base64
import random
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Conversation, ImagePart
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.upstream import completion, response, upstream
from tests.support.worker import bench
from workers.dialects.port import Target
from workers.fetching import Fetcher
from workers.http import CallFailed
from workers.images import MOST_PIXELS, Images


def target(**quirks: Any) -> Target:
    row = ProviderRow(name="alpha", dialect="openai_chat", base_url="https://alpha.example")
    return Target(row, ModelRow.model_validate({"name": "m", "quirks": quirks}))


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture that does not compress."""
    depth = len(mode)
    state, out = 1, bytearray()
    while len(out) < width * height * depth:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += state.to_bytes(8, "big")
    return Image.frombytes(mode, (width, height), bytes(out[: width * height * depth]))


def encoded(picture: Image.Image, format: str, **how: Any) -> str:
    out = BytesIO()
    picture.save(out, format, **how)
    return base64.b64encode(out.getvalue()).decode()


def showing(data: str, media_type: str) -> Conversation:
    image = {"type": "image", "data": data, "media_type": media_type}
    return builders.conversation(messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}])


def shown(conversation: Conversation) -> ImagePart:
    (part,) = (part for part in conversation.messages[0].content if isinstance(part, ImagePart))
    return part


def opened(part: ImagePart) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(part.data or "")))


async def made(
    conversation: Conversation, whom: Target, by: Images | None = None
) -> tuple[ImagePart, tuple[Loss, ...]]:
    found, losses = await (by or Images()).prepared(conversation, whom)
    return shown(found), losses


async def refused(conversation: Conversation, whom: Target) -> Failure:
    with pytest.raises(CallFailed) as broken:
        await Images().prepared(conversation, whom)
    return broken.value.failure


async def test_where_nothing_is_known_of_the_target_nothing_is_looked_at() -> None:
    conversation = showing("not even base64", "image/unheard-of")
    assert await Images().prepared(conversation, target()) == (conversation, ())


async def test_what_the_target_takes_stays_as_it_is() -> None:
    conversation = showing(encoded(noise(20, 10), "PNG"), "image/png")
    whom = target(image_types=["image/png", "image/jpeg"], image_max_bytes=100_000, image_max_side=20)
    found, losses = await Images().prepared(conversation, whom)
    assert found == conversation
    assert losses == ()


@pytest.mark.parametrize(
    ("format", "media_type", "types", "becomes"),
    [
        ("WEBP", "image/webp", ["image/jpeg", "image/png"], "PNG"),
        ("BMP", "image/bmp", ["image/png", "image/jpeg"], "PNG"),
        ("TIFF", "image/tiff", ["image/jpeg"], "JPEG"),
        ("GIF", "image/gif", ["image/png", "image/jpeg"], "PNG"),
        ("JPEG", "image/jpeg", ["image/png"], "PNG"),
        ("AVIF", "image/avif", ["image/png", "image/jpeg"], "JPEG"),
        ("PNG", "image/png", ["image/webp"], "WEBP"),
    ],
)
async def test_another_format_is_converted_and_the_loss_says_from_what_to_what(
    format: str, media_type: str, types: list[str], becomes: str
) -> None:
    part, losses = await made(showing(encoded(noise(16, 8), format), media_type), target(image_types=types))
    assert opened(part).format == becomes
    assert opened(part).size == (16, 8)
    assert part.media_type == f"image/{becomes.lower()}"
    (loss,) = losses
    assert (loss.kind, loss.field) == ("converted", "messages[0].content[1]")
    assert loss.detail.startswith(f"{media_type}, ")
    assert f"to image/{becomes.lower()}, " in loss.detail


async def test_the_usual_misspelling_of_jpeg_is_only_renamed() -> None:
    data = encoded(noise(16, 8), "JPEG")
    part, losses = await made(showing(data, "image/jpg"), target(image_types=["image/jpeg"]))
    assert (part.media_type, part.data, losses) == ("image/jpeg", data, ())


@pytest.mark.parametrize(("format", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
async def test_too_many_bytes_are_scaled_down_in_the_same_format(format: str, media_type: str) -> None:
    whom = target(image_types=["image/png", "image/jpeg"], image_max_bytes=20_000)
    part, losses = await made(showing(encoded(noise(400, 200), format), media_type), whom)
    assert 5_000 <= len(part.data or "") <= 20_000
    assert part.media_type == media_type
    width, height = opened(part).size
    assert 1.8 <= width / height <= 2.2
    assert f"(400x200 to {width}x{height})" in losses[0].detail


async def test_too_long_a_side_is_scaled_down() -> None:
    part, losses = await made(showing(encoded(noise(300, 30), "PNG"), "image/png"), target(image_max_side=100))
    assert opened(part).size == (100, 10)
    assert losses


async def test_what_is_transparent_stays_so_in_png_and_stands_on_white_in_jpeg() -> None:
    clear = encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "TIFF")
    part, _ = await made(showing(clear, "image/tiff"), target(image_types=["image/png"]))
    assert opened(part).getpixel((4, 4)) == (0, 0, 0, 0)
    part, _ = await made(showing(clear, "image/tiff"), target(image_types=["image/jpeg"]))
    assert opened(part).getpixel((4, 4)) == (255, 255, 255)


async def test_of_a_moving_picture_the_first_frame_is_taken_and_said_so() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    part, losses = await made(showing(moving, "image/gif"), target(image_types=["image/png"]))
    assert opened(part).getpixel((4, 4)) == (255, 0, 0)
    assert "first frame" in losses[0].detail


async def test_a_picture_lying_on_its_side_is_stood_up_because_its_note_of_that_is_lost() -> None:
    picture = noise(16, 8)
    exif = picture.getexif()
    exif[0x0112] = 6
    part, _ = await made(showing(encoded(picture, "JPEG", exif=exif), "image/jpeg"), target(image_types=["image/png"]))
    assert opened(part).size == (8, 16)


def bomb(side: int) -> str:
    """A PNG of a few bytes that claims to have so many pixels a side."""

    def piece(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    size = side.to_bytes(4, "big")
    head = piece(b"IHDR", size + size + b"\x08\x02\x00\x00\x00")
    whole = b"\x89PNG\r\n\x1a\n" + head + piece(b"IDAT", zlib.compress(b"\0" * 1_000)) + piece(b"IEND", b"")
    return base64.b64encode(whole).decode()


@pytest.mark.parametrize("side", [7_000, 12_000, 200_000])
async def test_a_small_file_that_claims_to_be_huge_is_not_opened(side: int) -> None:
    assert side * side > MOST_PIXELS
    failure = await refused(showing(bomb(side), "image/png"), target(image_types=["image/jpeg"]))
    assert failure.kind is FailureKind.UNSUPPORTED_PARAM
    assert "pixels" in failure.message or "readable" in failure.message


@pytest.mark.parametrize(
    "data",
    [
        "",
        "not base64!",
        base64.b64encode(b"\x89PNG\r\n\x1a\nhalf").decode(),
        base64.b64encode(b"%PDF-1.4").decode(),
        base64.b64encode(b"<svg/>").decode(),
        bomb(50),
    ],
    ids=["nothing", "not base64", "a half head", "a document", "a drawing", "too few pixels"],
)
async def test_what_cannot_be_read_fails_with_the_place_and_a_remedy(data: str) -> None:
    whom = target(image_types=["image/jpeg", "image/webp"])
    failure = await refused(showing(data, "image/png"), whom)
    assert failure.kind is FailureKind.UNSUPPORTED_PARAM
    assert failure.field == "conversation.messages[0].content[1]"
    assert "image/jpeg, image/webp" in (failure.remedy or "")


async def test_a_target_that_fetches_nothing_is_not_sent_an_address() -> None:
    image = {"type": "image", "url": "http://10.0.0.1/secret.png"}
    conversation = builders.conversation(messages=[{"role": "user", "content": [image]}])
    failure = await refused(conversation, target(image_urls=False))
    assert failure.kind is FailureKind.UNSUPPORTED_PARAM
    assert "data and media_type" in (failure.remedy or "")
    assert "workers.fetch_images" in (failure.remedy or "")
    kept, losses = await Images().prepared(conversation, target(image_types=["image/png"]))
    assert kept == conversation
    assert losses == ()


async def test_an_address_that_holds_the_image_is_no_address_and_the_targets_own_stores_are_left_to_it() -> None:
    data = encoded(noise(16, 8), "WEBP")
    held = builders.conversation(
        messages=[{"role": "user", "content": [{"type": "image", "url": f"data:image/webp;base64,{data}"}]}]
    )
    part, losses = await made(held, target(image_urls=False, image_types=["image/webp"]))
    assert (part.url, part.data, part.media_type) == (None, data, "image/webp")
    assert losses == ()
    part, losses = await made(held, target(image_types=["image/png"]))
    assert opened(part).format == "PNG"
    stored = builders.conversation(
        messages=[{"role": "user", "content": [{"type": "image", "url": "s3://bucket/a.png"}]}]
    )
    part, losses = await made(stored, target(image_urls=False, image_stores=["s3://"]))
    assert (part.url, losses) == ("s3://bucket/a.png", ())
    assert (await refused(stored, target(image_urls=False))).kind is FailureKind.UNSUPPORTED_PARAM


class Slow(Fetcher):
    """Never has the image; counts who asks."""

    asked = 0

    async def fetch(self, address: str) -> tuple[str, str]:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_images_that_do_not_come_hold_up_no_work_on_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    images = Images(slow)
    image = {"type": "image", "url": "https://example.com/a.webp"}
    far = builders.conversation(messages=[{"role": "user", "content": [image]}])
    waiting = [asyncio.create_task(images.prepared(far, target(image_urls=False))) for _ in range(4)]
    await eventually(lambda: slow.asked == len(waiting))
    part, _ = await made(showing(encoded(noise(8, 8), "GIF"), "image/gif"), target(image_types=["image/png"]), images)
    assert opened(part).format == "PNG"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    monkeypatch.setattr("workers.images.PATIENCE", 0.01)
    with pytest.raises(CallFailed) as broken:
        await images.prepared(far, target(image_urls=False))
    assert "within 0.01 s" in broken.value.failure.message


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_a_broken_picture_is_refused_and_never_a_bug(format: str) -> None:
    picture = noise(24, 16)
    moving = {"save_all": True, "append_images": [noise(24, 16), noise(20, 10)]} if format == "GIF" else {}
    whole = base64.b64decode(encoded(picture, format, **moving))
    dice = random.Random(7)
    whom = target(image_types=["image/png"], image_max_side=12)
    images = Images()
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(dice.choice((1, 2, 20))):
            broken[dice.randrange(dice.choice((60, len(broken))) % len(broken) or 1)] = dice.randrange(256)
        del broken[dice.randrange(len(broken)) + 1 if dice.random() < 0.2 else len(broken) :]
        with suppress(CallFailed):
            await made(showing(base64.b64encode(bytes(broken)).decode(), "image/x-any"), whom, images)


async def test_where_workers_may_fetch_the_image_is_sent_converted_like_any_other() -> None:
    data = base64.b64decode(encoded(noise(16, 8), "WEBP"))

    def found(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    class Here(Fetcher):
        async def fetch(self, address: str) -> tuple[str, str]:
            assert address == "https://example.com/a.webp"
            return base64.b64encode(data).decode(), "image/webp"

    image = {"type": "image", "url": "https://example.com/a.webp", "detail": "low"}
    conversation = builders.conversation(messages=[{"role": "user", "content": [image]}])
    whom = target(image_urls=False, image_types=["image/png"])
    sent, losses = await Images(Here()).prepared(conversation, whom)
    part = shown(sent)
    assert (part.url, part.media_type, part.detail) == (None, "image/png", "low")
    assert [loss.kind for loss in losses] == ["converted", "converted"]
    with pytest.raises(CallFailed) as broken:
        await Images(Fetcher(look_up=found)).prepared(conversation, whom)
    assert "not one of the open internet" in broken.value.failure.message


async def test_in_a_worker_the_converted_image_is_sent_and_the_record_says_so() -> None:
    quirks = {"image_types": ["image/png"]}
    row = {"name": "alpha", "dialect": "openai_chat", "base_url": "https://x", "quirks": quirks}
    catalogue = {"alpha": ProviderRow.model_validate(row)}
    async with upstream([response(completion())]) as server, bench(server.url, catalogue=catalogue) as worker:
        asked = showing(encoded(noise(16, 8), "WEBP"), "image/webp")
        result = await worker.result(await worker.hand(worker.assignment(job=builders.job(conversation=asked))))
        url = server.asked[0].json["messages"][0]["content"][1]["image_url"]["url"]
        assert url.startswith("data:image/png;base64,")
        assert [loss.kind for loss in result.attempts[0].losses] == ["converted"]
        bad = await worker.hand(
            worker.assignment(job=builders.job("stem-bad", conversation=showing("?", "image/webp")))
        )
        outcome = await worker.outcome(bad)
        assert outcome.failure.kind is FailureKind.UNSUPPORTED_PARAM
        assert not outcome.called

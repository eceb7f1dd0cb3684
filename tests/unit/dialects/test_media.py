"""Images and files before a dialect sends them."""

from __future__ import annotations

import base64

from job_contracts.chat import FilePart, ImagePart
from workers.dialects.media import Media, media_of


def test_an_address_that_holds_its_data_is_data() -> None:
    assert media_of(ImagePart(url="data:image/gif;base64,AAAA")) == Media("image/gif", "AAAA", None)
    assert media_of(ImagePart(url="data:,%41")) == Media("image/png", "QQ==", None)
    assert media_of(FilePart(url="data:,%41", media_type="text/csv")) == Media("text/csv", "QQ==", None)


def test_a_media_type_has_one_name() -> None:
    assert media_of(ImagePart(data="AAAA", media_type="image/JPG")).type == "image/jpeg"
    assert media_of(FilePart(data="AAAA", media_type="text/plain; charset=utf-8")).type == "text/plain"


def test_the_kind_of_a_picture_shows_at_the_end_of_its_address() -> None:
    assert media_of(ImagePart(url="https://example.com/a.PNG?size=1")).type == "image/png"
    assert media_of(ImagePart(url="https://example.com/a")).type is None
    assert media_of(FilePart(url="https://example.com/a.png", media_type="application/pdf")).type == "application/pdf"


def test_text_is_read_out_of_a_file_only_if_it_is_text() -> None:
    told = base64.b64encode("Grüße".encode()).decode()
    assert media_of(FilePart(data=told, media_type="application/json")).is_text
    assert media_of(FilePart(data=told, media_type="image/svg+xml")).is_text
    assert not media_of(FilePart(data=told, media_type="application/zip")).is_text
    assert media_of(FilePart(data=told, media_type="text/plain")).text() == "Grüße"
    assert media_of(FilePart(data="/w==", media_type="text/plain")).text() is None
    assert media_of(FilePart(data="no base64!", media_type="text/plain")).text() is None
    assert media_of(FilePart(url="https://example.com/a.txt", media_type="text/plain")).text() is None

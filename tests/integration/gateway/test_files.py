"""Files: stored while they arrive, seen once they are whole, read from any byte on, gone when they should be."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.files.sweeper import Sweeper
from job_contracts import subjects
from tests.support.batches import House, begun, ended, house, output, request
from tests.support.eventually import eventually

SIZE = 3 * 1024 * 1024 + 17


async def kept_open(at: House, head: str, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw upload of which so much has arrived."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.edge.made.server.port)
    writer.write(f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {at.edge.key}\r\n{head}\r\n".encode())
    for piece in pieces:
        writer.write(piece)
    await writer.drain()
    return reader, writer


async def chunks(at: House) -> int:
    found = await at.edge.bus.stream_state(subjects.FILES, subjects=subjects.file_chunk("*", "*", "*"))
    return len(found.subjects or ())


async def half_stored(at: House) -> asyncio.StreamWriter:
    """A raw upload of which something is stored; another one where the edge had to give it up before that was seen."""
    while True:
        reader, writer = await kept_open(at, FORM, PART, secrets.token_bytes(2_000_000))

        async def seen(reader: asyncio.StreamReader = reader) -> int:
            return await chunks(at) or -reader.at_eof()

        if await eventually(seen, within=10.0) > 0:
            return writer
        writer.close()


FORM = "content-type: multipart/form-data; boundary=XX\r\ncontent-length: 9000000\r\n"
PART = (
    b'--XX\r\ncontent-disposition: form-data; name="file"; filename="x.bin"\r\n'
    b"content-type: application/octet-stream\r\n\r\n"
)


async def test_a_file_comes_back_as_it_was_whole_and_in_ranges(tmp_path: Path) -> None:
    content = secrets.token_bytes(SIZE)
    async with house(tmp_path) as at:
        made = await at.client.files.create(file=("data.bin", content), purpose="user_data")
        assert (made.bytes, made.filename, made.purpose, made.status) == (SIZE, "data.bin", "user_data", "processed")
        assert (await at.client.files.content(made.id)).content == content
        assert await at.client.files.retrieve(made.id) == made
        path = f"/v1/files/{made.id}/content"
        for start, stop in ((0, 1), (262_143, 262_145), (1_000_000, 2_500_000), (SIZE - 1, SIZE)):
            part = await at.edge.client.get(path, headers={"range": f"bytes={start}-{stop - 1}"})
            assert (part.status_code, part.content) == (206, content[start:stop])
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        mark = (await at.edge.client.get(path)).headers["etag"]
        last = await at.edge.client.get(path, headers={"range": "bytes=-5", "if-range": mark})
        assert last.content == content[-5:]
        other = await at.edge.client.get(path, headers={"range": "bytes=-5", "if-range": '"another"'})
        assert (other.status_code, len(other.content)) == (200, SIZE)
        assert (await at.edge.client.get(path, headers={"range": f"bytes={SIZE}-"})).status_code == 416
        empty = await at.client.files.create(file=("empty", b""), purpose="user_data")
        assert (empty.bytes, (await at.client.files.content(empty.id)).content) == (0, b"")


async def test_files_are_listed_in_pages_and_deleted_with_their_content(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        made = []
        for number in range(5):
            purpose: Any = "batch" if number % 2 else "user_data"
            made.append((await at.client.files.create(file=(f"{number}", b"x"), purpose=purpose)).id)
        assert [one.id async for one in at.client.files.list(limit=2)] == list(reversed(made))
        assert [one.id async for one in at.client.files.list(order="asc", limit=3)] == made
        assert [one.id async for one in at.client.files.list(purpose="batch")] == [made[3], made[1]]
        assert (await at.client.files.delete(made[0])).deleted
        for attempt in (at.client.files.retrieve(made[0]), at.client.files.delete(made[0])):
            with pytest.raises(openai.NotFoundError):
                await attempt
        assert await chunks(at) == 4


async def test_an_upload_that_breaks_off_is_never_seen_and_leaves_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, body_timeout=0.6) as at:
        writer = await half_stored(at)
        assert (await at.client.files.list()).data == []
        writer.close()

        async def nothing() -> bool:
            return await chunks(at) == 0

        await eventually(nothing, within=10.0, says="chunks of an upload whose client has gone")
        reader, writer = await kept_open(at, FORM, PART, secrets.token_bytes(2_000_000))
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()
        await eventually(nothing, within=10.0, says="chunks of an upload that stopped coming")


async def test_what_is_no_upload_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, max_upload=1_000_000) as at:
        client, half = at.edge.client, secrets.token_bytes(600_000)
        too_large = await client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("x", half + half)})
        assert too_large.status_code == 413
        for files, data, param in (
            ({"file": ("x", half)}, {"purpose": "fun"}, "purpose"),
            ({"other": ("x", b"")}, {"purpose": "batch"}, "other"),
            ({"file": ("x", half)}, {"purpose": "batch", "expires_after[seconds]": "60"}, "expires_after.anchor"),
        ):
            said = await client.post("/v1/files", data=data, files=files)
            assert (said.status_code, said.json()["error"]["param"]) == (400, param)
        assert (await client.post("/v1/files", json={})).status_code == 415
        cut = await client.post(
            "/v1/files", content=PART + b"half", headers={"content-type": "multipart/form-data; boundary=XX"}
        )
        assert (cut.status_code, cut.json()["error"]["code"]) == (400, "invalid_form")
        assert (await at.client.files.list()).data == []
        assert await chunks(at) == 0


async def test_a_file_that_expires_is_gone_and_its_content_is_swept(tmp_path: Path) -> None:
    async with house(tmp_path, files={"abandoned": 0.2, "sweep": 3600}) as at:
        made = await at.client.files.create(
            file=("x", b"content"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert made.expires_at == made.created_at + 3600
        files, project = at.edge.edge.files, at.edge.edge.config.gateway.keys["test"].project
        head, seq = await files.found(project, made.id) or (None, 0)
        assert head is not None
        await files.change(project, head.model_copy(update={"expires_at": at.edge.edge.clock.wall() + 1.0}), seen=seq)

        async def gone() -> bool:
            return (await at.edge.client.get(f"/v1/files/{made.id}")).status_code == 404

        await eventually(gone, within=10.0)
        sweeper = next(duty for duty in at.edge.made.duties if isinstance(duty, Sweeper))

        async def swept() -> bool:
            await sweeper.sweep()
            return await chunks(at) == 0

        await eventually(swept, within=20.0, every=0.2)


async def test_an_input_file_may_be_deleted_while_its_batch_runs(tmp_path: Path) -> None:
    async with house(
        tmp_path, batches={"beat": 0.2, "silence": 1.0, "in_flight": 4}, files={"sweep": 0.2, "abandoned": 0.2}
    ) as at:
        batch = await begun(at.client, [request(n, "slow") for n in range(20)])
        await at.client.files.delete(batch.input_file_id)
        done = await ended(at.client, batch.id)
        answers, errors = await output(at.client, done)
        assert (len(answers), errors) == (20, [])

        async def swept() -> bool:
            found = await at.edge.bus.stream_state(
                subjects.FILES, subjects=subjects.file_chunk("*", batch.input_file_id, "*")
            )
            return not found.subjects

        await eventually(swept, within=20.0, says="the content of a deleted file that nothing reads any more")


async def test_results_may_be_deleted_while_their_batch_runs(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        batch = await begun(at.client, [request(n, "slow") for n in range(20)])
        await at.client.files.delete(batch.output_file_id)
        done = await ended(at.client, batch.id)
        assert done.request_counts.completed == 20
        with pytest.raises(openai.NotFoundError):
            await at.client.files.content(done.output_file_id)


async def test_a_download_whose_file_is_deleted_meanwhile_is_cut_and_no_fault_of_ours(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        made = await at.client.files.create(file=("data.bin", secrets.token_bytes(4 * SIZE)), purpose="user_data")
        got = 0
        with pytest.raises(httpx.HTTPError):  # an end that is none
            async with at.edge.client.stream("GET", f"/v1/files/{made.id}/content") as answer:
                async for part in answer.aiter_raw():
                    if not got:
                        await at.client.files.delete(made.id)
                    got += len(part)
        assert 0 < got < 4 * SIZE
        told = {event.name: event.fields for event in at.edge.events}
        assert told["edge.cut"] == {"why": "store"}
        assert not {"edge.failed", "edge.store_failed"} & told.keys()

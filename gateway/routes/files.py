"""``/v1/files``: uploads, lists, contents from any byte on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from gateway.app import Broken, Endpoint, answer
from gateway.bodies import openai_files
from gateway.bodies.failures import Failed
from gateway.bodies.openapi import JSON, About, Parameter, Told
from gateway.files.uploads import upload
from runtime.bus.port import BusError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from gateway.call import Call

KIND = "application/octet-stream"


async def create(call: Call) -> ASGIApp:
    """Store a file while it arrives."""
    return answer(openai_files.rendered(await upload(call)))


async def listing(call: Call) -> ASGIApp:
    """A page of the project's files."""
    asked = openai_files.page(call.request.query_params)
    heads = await call.edge.files.listed(call.caller.project)
    known = {head.id: head for head in heads if asked.purpose in (None, head.purpose)}
    ids, more = openai_files.cut(list(known), asked)
    contents = [await call.edge.contents.of(call.caller.project, known[name]) for name in ids]
    return answer(openai_files.listed((openai_files.rendered(one.head, size=one.size) for one in contents), more=more))


async def show(call: Call) -> ASGIApp:
    """One file, without its content."""
    content = await call.edge.contents.find(call.caller.project, _named(call))
    return answer(openai_files.rendered(content.head, size=content.size))


async def content(call: Call) -> ASGIApp:
    """A file's content, or the range of it that is asked for; of a batch that goes on, the lines there are."""
    edge, project = call.edge, call.caller.project
    found = await edge.contents.find(project, _named(call))
    headers = {"accept-ranges": "bytes", "etag": f'"{found.head.id}"', "cache-control": "no-store"}
    asked = call.request.headers
    whole = asked.get("if-range", headers["etag"]) != headers["etag"]
    span = None if whole else openai_files.span(asked.get("range"), found.size)
    start, stop = span or (0, found.size)
    headers["content-length"] = str(stop - start)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{found.size}"
    body = _to_the_end(edge.contents.read(project, found, start, stop))
    return StreamingResponse(body, 200 if span is None else 206, headers, KIND)


async def _to_the_end(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Its head is out before its first byte is read: what goes wrong with one cannot be answered any more."""
    try:
        async for data in body:
            yield data
    except (Failed, BusError) as error:
        raise Broken("store") from error


async def delete(call: Call) -> ASGIApp:
    """Let there be no such file; a batch that reads it goes on."""
    edge, project, name = call.edge, call.caller.project, _named(call)
    await edge.files.remove(project, name)
    if not await edge.records.in_use(project, name):
        await edge.files.forget(project, name)
    return answer({"id": name, "object": "file", "deleted": True})


def _named(call: Call) -> str:
    return openai_files.file_id(call.request.path_params["id"])


_ID = Parameter("id", "path", "The file's id: file-….", required=True)
_PURPOSE = Parameter("purpose", "query", "Those for this alone.")
_RANGE = Parameter("range", "header", "bytes=0-1023: a part of the content.")
_IF_RANGE = Parameter("if-range", "header", "The etag of what is known already: another one gets the whole.")
_BYTES = {KIND: {"type": "string", "format": "binary"}}
_FILE = Told("The file, without its content.", {JSON: openai_files.FILE})
_UPLOAD = About(
    "Upload a file",
    "files",
    {200: _FILE},
    body=openai_files.UPLOAD,
    media="multipart/form-data",
    errors=(507,),
    description="Stored while it arrives; there is no such file before all of it is.",
)
_LIST = About(
    "The files of the project",
    "files",
    {200: Told("A page of them.", {JSON: openai_files.FILES})},
    parameters=(*(Parameter(name, "query", *told) for name, told in openai_files.paging().items()), _PURPOSE),
    errors=(400,),
)
_CONTENT = About(
    "The content of a file",
    "files",
    {200: Told("All of it.", _BYTES), 206: Told("The range that was asked for.", _BYTES)},
    parameters=(_ID, _RANGE, _IF_RANGE),
    errors=(416,),
    description="The results of a batch that goes on: the lines that are there.",
)
_DELETE = About("Delete a file", "files", {200: Told("It is gone.", {JSON: openai_files.DELETED})}, parameters=(_ID,))
ENDPOINTS = (
    Endpoint("/v1/files", ("POST",), create, about=_UPLOAD),
    Endpoint("/v1/files", ("GET",), listing, about=_LIST),
    Endpoint("/v1/files/{id}", ("GET",), show, about=About("A file", "files", {200: _FILE}, parameters=(_ID,))),
    Endpoint("/v1/files/{id}", ("DELETE",), delete, about=_DELETE),
    Endpoint("/v1/files/{id}/content", ("GET",), content, about=_CONTENT),
)

"""The transport on the wire: connections kept and not kept, what each break raises, what a close closes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.upstream import Do, Step, Upstream, chunk, head, response, upstream
from workers.transport import AiohttpTransport


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    yield made
    await made.aclose()


@pytest.fixture
async def server() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


def request(url: str, *, connect: float = 2.0, body: bytes = b"{}", **headers: str) -> httpx.Request:
    return httpx.Request(
        "POST", f"{url}/path?q=%2F", content=body, headers=headers, extensions={"timeout": {"connect": connect}}
    )


async def ask(transport: httpx.AsyncBaseTransport, url: str) -> tuple[int, bytes]:
    answer = await transport.handle_async_request(request(url))
    try:
        return answer.status_code, b"".join([data async for data in answer.stream])  # type: ignore[union-attr]
    finally:
        await answer.stream.aclose()  # type: ignore[union-attr]


async def test_a_request_arrives_as_it_was_made(transport: AiohttpTransport, server: Upstream) -> None:
    server.play([response("hi")])
    answer = await transport.handle_async_request(request(server.url, body=b'{"a":1}', authorization="Bearer k"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    await answer.stream.aclose()  # type: ignore[union-attr]
    (asked,) = server.asked
    assert asked.line == "POST /path?q=%2F HTTP/1.1"
    assert asked.body == b'{"a":1}'
    names = [name.lower() for name, _ in asked.headers]
    assert sorted(names) == sorted({*names}), "no header twice"
    assert {"host", "content-length", "authorization"} <= {*names}
    assert "user-agent" not in names


async def test_a_body_comes_as_it_is_sent(transport: AiohttpTransport, server: Upstream) -> None:
    server.play([head(), chunk("one"), Do.WAIT, chunk("two"), chunk("")])
    answer = await transport.handle_async_request(request(server.url))
    pieces = aiter(answer.stream)  # type: ignore[arg-type]
    assert await anext(pieces) == b"one"
    server.proceed()
    assert await anext(pieces) == b"two"
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
    await answer.stream.aclose()  # type: ignore[union-attr]


async def test_a_finished_connection_is_used_again(transport: AiohttpTransport, server: Upstream) -> None:
    server.play([response("hi")])
    for _ in range(5):
        assert await ask(transport, server.url) == (200, b"hi")
    assert server.connections == 1


async def test_an_answer_that_is_left_closes_its_connection(transport: AiohttpTransport, server: Upstream) -> None:
    server.play([head(), chunk("one"), Do.HANG])
    answer = await transport.handle_async_request(request(server.url))
    await answer.stream.aclose()  # type: ignore[union-attr]
    await eventually(lambda: server.gone == 1)


@pytest.mark.parametrize("script", [[Do.HANG], [head(), Do.HANG], [head(), chunk("one"), Do.HANG]])
async def test_a_cancelled_call_closes_its_connection(
    transport: AiohttpTransport, server: Upstream, script: list[Step]
) -> None:
    server.play(script)
    asking = asyncio.create_task(ask(transport, server.url))
    await eventually(lambda: server.asked)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: server.gone == 1)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param([Do.CLOSE], httpx.ReadError, id="closed"),
        pytest.param([Do.RESET], httpx.ReadError, id="reset"),
        pytest.param([b"HTTP/1.1 200 OK\r\ncontent-le", Do.CLOSE], httpx.ReadError, id="half a header"),
        pytest.param([b"SMTP ready\r\n\r\n", Do.CLOSE], httpx.RemoteProtocolError, id="no HTTP"),
        pytest.param([response("", extra="x: " + "y" * 100_000 + "\r\n")], httpx.RemoteProtocolError, id="headers"),
        pytest.param([response("", extra="content-length: 7\r\n")], httpx.RemoteProtocolError, id="two lengths"),
        pytest.param([head(), chunk("abc"), Do.CLOSE], httpx.RemoteProtocolError, id="cut chunks"),
        pytest.param([head(), chunk("abc"), Do.RESET], httpx.ReadError, id="reset chunks"),
        pytest.param([response("abc")[:-1], Do.CLOSE], httpx.RemoteProtocolError, id="cut length"),
        pytest.param([response("abc")[:-1], Do.RESET], httpx.ReadError, id="reset length"),
    ],
)
async def test_each_break_is_one_of_httpx_errors(
    transport: AiohttpTransport, server: Upstream, script: list[Step], kind: type[httpx.TransportError]
) -> None:
    server.play(script)
    with pytest.raises(kind) as raised:
        await ask(transport, server.url)
    assert type(raised.value) is kind


async def test_framing_that_breaks_later_is_noticed_at_once(transport: AiohttpTransport, server: Upstream) -> None:
    server.play([head(), chunk("abc"), Do.WAIT, b"zz\r\n", Do.HANG])
    answer = await transport.handle_async_request(request(server.url))
    pieces = aiter(answer.stream)  # type: ignore[arg-type]
    assert await anext(pieces) == b"abc"
    server.proceed()
    with pytest.raises(httpx.RemoteProtocolError):
        await asyncio.wait_for(anext(pieces), 5)
    await answer.stream.aclose()  # type: ignore[union-attr]


async def test_a_redirect_is_an_answer_like_any_other(transport: AiohttpTransport, server: Upstream) -> None:
    server.play([response("", status=307, extra="location: http://127.0.0.1:1/\r\n")])
    assert (await ask(transport, server.url))[0] == 307


async def test_a_refused_connection_is_a_connect_error(transport: AiohttpTransport) -> None:
    with pytest.raises(httpx.ConnectError):
        await ask(transport, "http://127.0.0.1:1")


async def test_a_name_that_does_not_resolve_is_a_connect_error(transport: AiohttpTransport) -> None:
    with pytest.raises(httpx.ConnectError):
        await ask(transport, "http://name.invalid")


async def test_a_connection_that_is_not_taken_ends_by_its_own_timeout(transport: AiohttpTransport) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # takes one connection, or two; the next ones wait
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        try:
            with pytest.raises(httpx.ConnectTimeout):
                await transport.handle_async_request(request(f"http://127.0.0.1:{address[1]}", connect=0.1))
        finally:
            for one in waiting:
                one.close()


async def test_a_server_that_speaks_no_tls_is_a_connect_error() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    transport = AiohttpTransport(context=ssl.create_default_context())
    with pytest.raises(httpx.ConnectError):
        await ask(transport, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await transport.aclose()
    server.close()


async def test_a_connection_that_was_closed_unnoticed_is_not_used_again(transport: AiohttpTransport) -> None:
    """The loop does not turn between the provider's close and the next request, so only the socket knows."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    served: list[bytes] = []

    def serve() -> socket.socket:
        connection, _ = listener.accept()
        served.append(connection.recv(65536))
        connection.sendall(response("hi"))
        return connection

    first: list[socket.socket] = []
    accepting = threading.Thread(target=lambda: first.append(serve()))
    accepting.start()
    assert await ask(transport, url) == (200, b"hi")
    accepting.join()
    second: list[socket.socket] = []
    first[0].close()
    accepting = threading.Thread(target=lambda: second.append(serve()))
    accepting.start()
    try:
        assert await ask(transport, url) == (200, b"hi")
    finally:
        accepting.join()
        listener.close()
        second[0].close()
    assert len(served) == 2


async def test_an_answer_nobody_reads_does_not_fill_the_memory(transport: AiohttpTransport) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head())
        try:
            for _ in range(2_000):
                writer.write(chunk(b"x" * 65_536))
                await writer.drain()
                sent += 65_536
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    answer = await transport.handle_async_request(request(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    looks: list[int] = []

    def nothing_more_is_sent() -> bool:
        looks.append(sent)
        return len(looks) > 5 and len(set(looks[-5:])) == 1

    await eventually(nothing_more_is_sent, every=0.05)
    assert sent < 32 * 1024**2
    await answer.stream.aclose()  # type: ignore[union-attr]
    server.close()


async def test_closing_twice_is_safe_and_a_new_request_opens_anew(
    transport: AiohttpTransport, server: Upstream
) -> None:
    server.play([response("hi")])
    await transport.aclose()
    await ask(transport, server.url)
    await transport.aclose()
    await transport.aclose()
    assert await ask(transport, server.url) == (200, b"hi")
    assert server.connections == 2

"""The edge's server: how long a client may take, how many may come, and how the server itself ends."""

from __future__ import annotations

import asyncio
import gc
import resource
from contextlib import AsyncExitStack

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.serving import Client, client, exchange, request, serving

MANY = 10_000
FEW_KIB = 12
"""KiB that an idle connection may cost."""


@pytest.mark.parametrize("sent", [b"P", b"POST /echo HTTP/1.1\r\nhost: edge\r\nx: "])
async def test_headers_that_do_not_end_are_given_up(sent: bytes) -> None:
    async with serving(header_timeout=0.2) as served, client(served.port) as one:
        await one.send(sent)
        answer = await one.answer()
        assert (answer.status, answer.error["code"]) == (408, "timeout")
        assert await one.closed()


async def test_headers_that_come_slowly_are_given_up_however_often_a_byte_comes() -> None:
    async with serving(header_timeout=0.3) as served, client(served.port) as one:

        async def drip() -> None:
            for byte in request("/echo", b"", f"x: {'a' * 4_000}"):
                await one.send(bytes([byte]))
                await asyncio.wait({answer}, timeout=0.02)
                if answer.done():
                    return

        answer = asyncio.ensure_future(one.answer())
        await drip()
        assert (await answer).status == 408


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(idle_timeout=0.2) as served, client(served.port) as one:
        assert await one.closed()


async def test_a_connection_is_closed_when_no_further_request_comes() -> None:
    async with serving(idle_timeout=0.3) as served, client(served.port) as one:
        await one.send(request())
        assert (await one.answer()).status == 200
        assert await one.closed()


async def test_a_request_that_takes_long_is_not_idle() -> None:
    async with serving(idle_timeout=0.1, header_timeout=0.1, body_timeout=0.1) as served, client(served.port) as one:
        await one.send(request("/wait"))
        await eventually(lambda: served.asked)
        async with client(served.port) as other:
            assert await other.closed()
        served.go.set()
        assert (await one.answer()).status == 200


async def test_a_body_that_stops_is_given_up() -> None:
    async with serving(body_timeout=0.2) as served, client(served.port) as one:
        await one.send(request("/echo", bytes(100))[:-50])
        answer = await one.answer()
        assert (answer.status, answer.error["code"]) == (408, "timeout")
        assert await one.closed()
        await eventually(lambda: served.gone == 1)
    assert not served.asked


async def test_a_body_that_comes_slowly_is_given_up_however_often_a_byte_comes() -> None:
    async with serving(body_timeout=0.3) as served, client(served.port) as one:
        await one.send(request("/echo", bytes(1_000))[:-1_000])
        answer = asyncio.ensure_future(one.answer())
        while not answer.done():
            await one.send(b"x")
            await asyncio.wait({answer}, timeout=0.02)
        assert answer.result().status == 408


async def test_the_rest_of_a_body_that_nobody_reads_is_not_waited_for_for_ever() -> None:
    async with serving(body_timeout=0.2) as served, client(served.port) as one:
        await one.send(request("/unread", bytes(1_000))[:-1])
        assert (await one.answer()).status == 401
        assert await one.closed()


async def test_a_body_is_taken_slowly_where_it_is_we_who_do_not_read() -> None:
    async with serving(body_timeout=0.1) as served, client(served.port) as one, client(served.port) as other:
        await one.send(request("/wait", b"") + request("/echo", bytes(200_000)))
        await eventually(lambda: served.asked)
        await other.send(request("/echo", b"x" * 10)[:-1])
        assert (await other.answer()).status == 408  # so the time has passed for the other as well
        served.go.set()
        assert (await one.answer()).body == b"/wait "
        assert len((await one.answer()).body) == 200_006


async def test_a_reader_that_takes_nothing_is_cut_and_hurts_nobody_else() -> None:
    async with serving(write_timeout=0.3) as served, client(served.port, window=4_096) as stalled:
        await stalled.send(request("/large"))
        await eventually(lambda: served.asked)
        for _ in range(20):
            assert (await exchange(served.port, request("/echo", b"x"))).status == 200
        await eventually(lambda: [told["why"] for told in served.told("edge.cut")] == ["write_timeout"])
        await eventually(lambda: not served.server.requests and not served.server.connections)
        answer = await stalled.answer()
        assert answer.ended != "whole"


async def test_an_answer_that_is_not_taken_before_the_connection_ends_is_cut_as_well() -> None:
    async with serving(write_timeout=0.3) as served, client(served.port, window=4_096) as stalled:
        await stalled.send(request("/large", version="1.0"))
        await eventually(lambda: served.asked and not served.server.connections)


# -- how many


async def test_connections_beyond_the_bound_are_told_so_and_closed() -> None:
    async with serving(max_connections=3) as served, AsyncExitStack() as stack:
        kept = [await stack.enter_async_context(client(served.port)) for _ in range(3)]
        await eventually(lambda: served.server.connections == 3)
        answer = await exchange(served.port, request())
        assert (answer.status, answer.error["code"]) == (503, "too_many_connections")
        assert int(answer.headers["retry-after"]) > 0
        kept[0].close()
        await eventually(lambda: served.server.connections < 3)
        assert (await exchange(served.port, request())).status == 200


async def test_requests_beyond_the_bound_are_told_to_come_back_on_the_same_connection() -> None:
    async with serving(max_requests=2) as served, AsyncExitStack() as stack:
        for _ in range(2):
            one = await stack.enter_async_context(client(served.port))
            await one.send(request("/wait"))
        await eventually(lambda: len(served.asked) == 2)
        async with client(served.port) as other:
            await other.send(request("/echo", bytes(200_000), "anthropic-version: 2023-06-01"))
            answer = await other.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b'"type":"overloaded_error"' in answer.body
            await other.send(request("/livez"))
            assert (await other.answer()).status == 200
            served.go.set()
            await eventually(lambda: served.server.requests == 0)
            await other.send(request("/echo", b"now"))
            assert (await other.answer()).body == b"/echo now"


@pytest.mark.timeout(60)
async def test_ten_thousand_idle_connections_cost_little_memory_and_no_time() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MANY + 1_000  # both ends are here
    if hard != resource.RLIM_INFINITY and hard < wanted:
        many = (hard - 1_000) // 2
    else:
        many, soft = MANY, max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * many + 1_000), hard))
    async with serving(max_connections=MANY) as served:
        gc.collect()
        before = psutil.Process().memory_info().rss
        ends: list[asyncio.Transport] = []
        loop = asyncio.get_running_loop()
        for _ in range(many // 100):
            made = [loop.create_connection(asyncio.Protocol, "127.0.0.1", served.port) for _ in range(100)]
            ends.extend(transport for transport, _ in await asyncio.gather(*made))
        await eventually(lambda: served.server.connections >= many - many % 100)
        grown = psutil.Process().memory_info().rss - before
        assert grown / 1024 / len(ends) < FEW_KIB, f"{grown / 1024 / len(ends):.1f} KiB a connection"
        for _ in range(20):
            assert (await exchange(served.port, request())).status == 200
        for transport in ends:
            transport.abort()
        await eventually(lambda: served.server.connections == 0, within=20)


# -- the end


async def test_an_end_waits_for_what_is_under_way() -> None:
    async with serving(drain=10) as served, client(served.port) as one, client(served.port) as other:
        await one.send(request("/wait"))
        await other.send(request())
        assert (await other.answer()).status == 200
        await eventually(lambda: len(served.asked) == 2)
        ending = asyncio.ensure_future(served.server.stop())
        await eventually(lambda: served.draining)
        await other.send(request("/echo", b"still here"))  # the application says whether it wants it
        answer = await other.answer()
        assert (answer.body, answer.headers["connection"]) == (b"/echo still here", "close")
        assert await other.closed()
        served.go.set()
        answer = await one.answer()
        assert (answer.body, answer.headers["connection"]) == (b"/wait ", "close")
        await ending
        with pytest.raises(ConnectionError):
            await Client.to(served.port)


async def test_what_has_not_been_answered_when_the_drain_is_over_is_told_so() -> None:
    async with serving(drain=0.1) as served, client(served.port) as one:
        await one.send(request("/wait"))
        await eventually(lambda: served.asked)
        await served.server.stop()
        answer = await one.answer()
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "draining", "1")
        assert served.gone == 1


@pytest.mark.parametrize(("version", "ended"), [("1.1", "closed"), ("1.0", "reset")])
async def test_a_stream_that_is_left_when_the_drain_is_over_ends_without_its_terminator(
    version: str, ended: str
) -> None:
    async with serving(drain=0.1) as served, client(served.port) as one:
        await one.send(request("/stream", version=version))
        await eventually(lambda: served.asked)
        await served.server.stop()
        answer = await one.answer()
        assert (answer.body, answer.ended) == (b"one\n\n", ended) or answer.ended == "reset"
        assert [told["why"] for told in served.told("edge.cut")] == ["draining"]


async def test_stopping_twice_or_before_the_start_does_no_harm() -> None:
    async with serving() as served:
        await served.server.stop()
        await served.server.stop()
        await served.server.start()
        assert (await exchange(served.port, request())).status == 200

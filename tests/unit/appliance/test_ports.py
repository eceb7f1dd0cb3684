"""Ports: free ones, and a clear word when one is taken."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from appliance import ports
from appliance.errors import PortTaken
from appliance.ports import asked_for, free_port, free_ports, is_free


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortTaken, match=rf"port {port} is taken.*the broker.*--nats-port 0"):
            asked_for(port, option="--nats-port", what="the broker")


def test_a_free_port_that_was_asked_for_is_taken_as_it_is() -> None:
    port = free_port()
    assert asked_for(port, option="--nats-port", what="the broker") == port


def test_zero_chooses_a_free_port() -> None:
    assert is_free(asked_for(0, option="--nats-port", what="the broker"))


def test_chosen_ports_differ_and_are_not_handed_out_to_outgoing_connections() -> None:
    chosen = free_ports(20)
    assert len(set(chosen)) == 20
    with socket.create_server(("127.0.0.1", 0)) as handed_out:
        assert handed_out.getsockname()[1] > max(chosen)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port is not held")
async def test_a_chosen_port_is_nobody_elses_and_whoever_it_is_for_listens_there_again_and_again() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="already in use"):
        other.bind(("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


def test_a_process_holds_no_more_ports_than_it_needs() -> None:
    for _ in range(8):
        free_ports(20)
    assert len(ports._held) <= ports._HELD

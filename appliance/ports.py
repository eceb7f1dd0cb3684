"""Which ports the processes listen on: those asked for if they are free, else ones that nobody is handed by chance."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sys
from collections import deque
from pathlib import Path

from appliance.errors import PortTaken

LOOPBACK = "127.0.0.1"

_HANDED_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _USUAL_FLOOR = 20_000, 32_768
_TRIES = 200
_HELD = 64
"""Ports that one process holds at most; the ones it chose first are let go."""
_held: deque[int] = deque()
"""Their sockets, as plain descriptors: they end with the process."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether one may listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def asked_for(port: int, *, option: str, what: str, host: str = LOOPBACK) -> int:
    """``port`` if it is free, a free one for 0.

    Raises:
        PortTaken: somebody listens there; the message names the port and what to do.
    """
    if port == 0:
        return free_port(host)
    if not is_free(port, host):
        raise PortTaken(
            f"port {port} is taken, and {what} should listen there: stop what uses it "
            f"(`ss -ltnp 'sport = :{port}'` names it), or give {option} another port ({option} 0 takes a free one)"
        )
    return port


def free_port(host: str = LOOPBACK, *, avoid: frozenset[int] = frozenset()) -> int:
    """A port that is free now and stays ours while a process on it restarts.

    The ports that the system hands out to outgoing connections are left alone: a client that reconnects to such a port
    while nobody listens there can be given it as its own end, and is then connected to itself. On Linux the port is
    held as long as this process lives: nobody else who chooses one here is given it before our process listens there.
    """
    ceiling = _first_handed_out()
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(ceiling - _LOWEST)
        if port not in avoid and _hold(port, host):
            return port
    raise PortTaken(f"none of {_TRIES} ports tried between {_LOWEST} and {ceiling} is free")


def _hold(port: int, host: str) -> bool:
    """Whether nobody has the port; then it is bound, in a way that lets one who asks for it by number listen there."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.bind((host, port))  # without SO_REUSEADDR: what another holds is not free
    except OSError as error:
        holder.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        raise
    if sys.platform != "linux":  # elsewhere a holder keeps off those that are to listen, too
        holder.close()
        return is_free(port, host)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _held.append(holder.detach())
    if len(_held) > _HELD:
        os.close(_held.popleft())
    return True


def free_ports(count: int, host: str = LOOPBACK, *, avoid: frozenset[int] = frozenset()) -> tuple[int, ...]:
    """So many different free ports, none of ``avoid``."""
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(free_port(host, avoid=avoid | frozenset(chosen)))
    return tuple(chosen)


def _first_handed_out() -> int:
    try:
        first = int(_HANDED_OUT.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_FLOOR
    return first if first >= _LOWEST + 1_000 else _USUAL_FLOOR

"""The command ``penstock`` without its start: processes forked off one that has imported it already.

Each is a process like any other, with arguments, environment, standard streams, signals and an exit status of its own.
What an interpreter and its imports cost is paid once: it is most of what a command costs.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
NEEDED = ("producer_sdk.cli.app", "producer_sdk.nats_client")
"""What a command imports sooner or later."""
MOST = 1 << 16
"""Bytes of a request."""


class Command:
    """One process of the command; what ``asyncio``'s processes offer, as far as it is asked for."""

    def __init__(self, way: socket.socket, pid: int, ends: tuple[int, int, int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._way, self._ends = way, ends

    def send_signal(self, number: int) -> None:
        """Nobody else has its number before ``communicate`` has returned."""
        if self.returncode is None:
            os.kill(self.pid, number)

    async def communicate(self, given: bytes = b"") -> tuple[bytes, bytes]:
        """Hand over its input, take what it says until it ends."""
        stdin, stdout, stderr = self._ends
        _, out, err, status = await asyncio.gather(
            asyncio.to_thread(_write, stdin, given),
            asyncio.to_thread(_read, stdout),
            asyncio.to_thread(_read, stderr),
            asyncio.to_thread(self._way.recv, MOST),
        )
        self._way.close()
        self.returncode = int(status)
        return out, err


def begin(*words: str, environment: Mapping[str, str]) -> Command:
    """Start a command; the process it is forked off is started with the first one."""
    pairs = [os.pipe() for _ in range(3)]
    theirs = (pairs[0][0], pairs[1][1], pairs[2][1])
    way = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    way.connect(_server())
    socket.send_fds(way, [json.dumps([words, dict(environment)]).encode()], theirs)
    for end in theirs:
        os.close(end)
    return Command(way, int(way.recv(MOST)), (pairs[0][1], pairs[1][0], pairs[2][0]))


@functools.cache
def _server() -> str:
    """Where it listens. It ends with this process, however that ends: nobody holds its input open any more."""
    stack = contextlib.ExitStack()
    path = str(Path(stack.enter_context(TemporaryDirectory(prefix="warm-"))) / "s")
    server = subprocess.Popen(
        (sys.executable, "-m", "tests.support.warm", path),
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},  # noqa: TID251 - the child needs what the tests have
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    stack.enter_context(server)
    atexit.register(stack.close)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return path


def _write(end: int, given: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(end, "wb") as file:
        file.write(given)


def _read(end: int) -> bytes:
    with os.fdopen(end, "rb") as file:
        return file.read()


def serve(path: str) -> None:
    """Fork a command for everybody who connects, and tell its number and its status. Returns in the command, too."""
    for name in NEEDED:
        importlib.import_module(name)
    gc.freeze()
    ended, telling = os.pipe()
    os.set_blocking(telling, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(telling)
    running: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(path)
        door.listen(64)
        os.write(1, b"ready\n")
        while True:
            watched: list[Any] = [0, door, ended]
            ready = select.select(watched, [], [])[0]
            if 0 in ready:
                sys.exit(0)
            if ended in ready:
                os.read(ended, MOST)
            for pid in list(running):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    way = running.pop(pid)
                    way.send(str(os.waitstatus_to_exitcode(status)).encode())
                    way.close()
            if door in ready:
                way = door.accept()[0]
                said, ends, _, _ = socket.recv_fds(way, MOST, 3)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for each in (way, *running.values()):
                        each.close()
                    _become(said, ends)
                    return
                for end in ends:
                    os.close(end)
                running[pid] = way
                way.send(str(pid).encode())


def _become(said: bytes, ends: list[int]) -> None:
    words, environment = json.loads(said)
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    os.environ.clear()  # noqa: TID251 - as a new process has it
    os.environ.update(environment)  # noqa: TID251
    sys.argv[:] = ["penstock", *words]


if __name__ == "__main__":
    serve(sys.argv[1])
    from producer_sdk.cli import main

    main()

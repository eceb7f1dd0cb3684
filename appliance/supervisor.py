"""Keeps processes running: started in order, restarted when they die whatever killed them, stopped in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import StartFailed
from appliance.leash import Leash
from appliance.output import LogFile, end_of

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds, and how often they are tried again.

    ``first_pause`` before the first restart, doubled for each further one up to ``longest_pause``; a process that ran
    for ``steady`` seconds starts over. ``tries``: starts before the first readiness is given up.
    """

    ready_within: float = 30.0
    look_every: float = 0.025
    first_pause: float = 0.1
    longest_pause: float = 15.0
    steady: float = 30.0
    tries: int = 4

    def pause(self, failures: int) -> float:
        """Seconds before the restart that follows the ``failures``-th failure in a row (1 is the first)."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 1, 20))


@dataclass(frozen=True, slots=True)
class Spec:
    """A process to keep running.

    ``wave``: those of a lower one are ready before it starts. ``stops``: those of a lower one have ended before it is
    asked to. ``grace``: seconds it has for its drain before it is killed. ``own_log``: a file that it writes by itself.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    wave: int = 0
    stops: int = 0
    own_log: Path | None = None
    grace: float = 30.0
    env: Mapping[str, str] | None = None
    cwd: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True, slots=True)
class Ready:
    """A process is ready; ``restarts`` of it so far."""

    name: str
    pid: int
    restarts: int


@dataclass(frozen=True, slots=True)
class Died:
    """A process ended without being asked to.

    ``failures`` in a row, ``pause`` seconds until it is started again; ``why`` in words, ``tail`` the end of its log.
    """

    name: str
    pid: int
    why: str
    failures: int
    restarts: int
    pause: float
    tail: str
    log: Path


@dataclass(frozen=True, slots=True)
class Overdue:
    """A process did not end within its grace and was killed."""

    name: str
    grace: float


Happening = Ready | Died | Overdue
Say = Callable[[Happening], None]
Mirror = Callable[[str, bytes], None]


def in_words(code: int) -> str:
    """How a process ended, from its return code (negative: the signal)."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Child:
    """One process kept running. ``stop`` before ``start``, and twice, is safe."""

    def __init__(
        self, spec: Spec, log: LogFile, leash: Leash, *, say: Say, patience: Patience, mirror: Mirror | None
    ) -> None:
        self.spec = spec
        self.restarts = 0
        self._log, self._leash, self._say, self._patience, self._mirror = log, leash, say, patience, mirror
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._was_ready: asyncio.Future[None] | None = None
        self._is_ready = False
        self._duty: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def ready(self) -> bool:
        """Whether it runs and has said that it is ready since it was last started."""
        return self._is_ready

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            StartFailed: it was not, after all the tries that patience has.
        """
        if self._duty is None:
            self._was_ready = asyncio.get_running_loop().create_future()
            self._duty = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")
        if self._was_ready is not None:
            await asyncio.shield(self._was_ready)

    async def stop(self) -> None:
        """Ask it to end, wait for its grace, then kill it."""
        self._stopping.set()
        process = self._process
        if process is not None:
            _signal(process, signal.SIGTERM)
        if self._duty is None:
            return
        done, _ = await asyncio.wait({self._duty}, timeout=self.spec.grace)
        if not done:
            self._say(Overdue(self.spec.name, self.spec.grace))
            self.kill()
            await asyncio.wait({self._duty}, timeout=5.0)
        self._log.close()

    def kill(self) -> None:
        """End it at once, for good."""
        self._stopping.set()
        if self._process is not None:
            _signal(self._process, signal.SIGKILL)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping.is_set():
            started = loop.time()
            why, pid = await self._once()
            if self._stopping.is_set():
                break
            failures = 1 if loop.time() - started >= self._patience.steady else failures + 1
            if self._given_up(failures, why):
                return
            pause = self._patience.pause(failures)
            self.restarts += 1
            log, tail = self._last_words()
            self._say(Died(self.spec.name, pid, why, failures, self.restarts, pause, tail, log))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        self._settle(StartFailed(f"{self.spec.name} was stopped before it was ready"))

    def _given_up(self, failures: int, why: str) -> bool:
        if self._was_ready is None or self._was_ready.done() or failures < self._patience.tries:
            return False
        log, tail = self._last_words()
        text = f"{self.spec.name} {why}, {failures} times in a row, and was never ready; the end of {log}:"
        self._settle(StartFailed(f"{text}\n{indented(tail)}"))
        return True

    def _last_words(self) -> tuple[Path, str]:
        """The file that says most about its end, and the end of that file."""
        own, said = self.spec.own_log, self._log.tail()
        if own is None or said:
            return self._log.path, said
        return own, end_of(own)

    def _settle(self, error: StartFailed | None) -> None:
        if self._was_ready is None or self._was_ready.done():
            return
        if error is None:
            self._was_ready.set_result(None)
        else:
            self._was_ready.set_exception(error)
            self._was_ready.exception()  # nobody may be waiting any more: that is not worth a warning

    async def _once(self) -> tuple[str, int]:
        """Run it once: how it ended, and its process id."""
        try:
            process = await self._leash.start(self.spec.argv, env=self.spec.env, cwd=self.spec.cwd)
        except OSError as error:
            return f"could not be executed ({error})", 0
        self._process = process
        if self._stopping.is_set():  # asked to stop while it was being started
            _signal(process, signal.SIGTERM)
        reading = asyncio.create_task(self._read(process), name=f"read {self.spec.name}")
        looking = asyncio.create_task(self._look(process), name=f"look at {self.spec.name}")
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            _signal(process, signal.SIGKILL)
            raise
        finally:
            looking.cancel()
            self._is_ready, self._process = False, None
            self._leash.ended(process.pid)
            # Somebody it started may still hold the pipe: what it said itself has arrived by now.
            await asyncio.wait({reading}, timeout=1.0)
            reading.cancel()
        late = looking.done() and not looking.cancelled() and looking.result()
        return (f"was not ready within {self._patience.ready_within:g} s" if late else in_words(code)), process.pid

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while data := await process.stdout.read(_CHUNK):
            self._log.write(data)
            if self._mirror is not None:
                self._mirror(self.spec.name, data)

    async def _look(self, process: asyncio.subprocess.Process) -> bool:
        """Wait for its readiness; True when it took too long and was killed."""
        try:
            async with asyncio.timeout(self._patience.ready_within):
                while not await self.spec.ready():  # noqa: ASYNC110 - another process's readiness raises no event here
                    await asyncio.sleep(self._patience.look_every)
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            return True
        self._is_ready = True
        self._settle(None)
        self._say(Ready(self.spec.name, process.pid, self.restarts))
        return False


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def indented(text: str) -> str:
    """A log's lines, marked as such."""
    return "\n".join(f"  | {line}" for line in text.splitlines())


class Supervisor:
    """Several processes, wave by wave."""

    def __init__(
        self,
        specs: Sequence[Spec],
        logs: Path,
        *,
        say: Say,
        patience: Patience | None = None,
        mirror: Mirror | None = None,
        leash: Leash | None = None,
    ) -> None:
        self._leash = leash or Leash()
        self.children = {
            spec.name: Child(
                spec,
                LogFile(logs / f"{spec.name}.log"),
                self._leash,
                say=say,
                patience=patience or Patience(),
                mirror=mirror,
            )
            for spec in specs
        }

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of what runs now."""
        return {name: child.pid for name, child in self.children.items() if child.pid is not None}

    async def start(self) -> None:
        """Start every wave once the one before is ready.

        Raises:
            StartFailed: a process was not ready; what had started is still to be stopped.
        """
        for wave in self._in_order(lambda spec: spec.wave):
            async with _together() as group:
                for child in wave:
                    group.create_task(child.start())

    async def stop(self) -> None:
        """Stop everything, in the order that the specs give."""
        for wave in self._in_order(lambda spec: spec.stops):
            await asyncio.gather(*(child.stop() for child in wave))
        self._leash.close()

    def kill(self) -> None:
        """End everything at once; ``stop`` still has to be awaited."""
        for child in self.children.values():
            child.kill()

    def _in_order(self, number: Callable[[Spec], int]) -> list[list[Child]]:
        numbers = sorted({number(child.spec) for child in self.children.values()})
        return [[child for child in self.children.values() if number(child.spec) == one] for one in numbers]


@contextlib.asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose failure is the first failure itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as many:
        raise many.exceptions[0] from None

"""Where the appliance keeps things, and that only one of them does: the data directory, its files and its lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Busy, WrongUse

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def default_data_dir(variables: Mapping[str, str], home: Path) -> Path:
    """``$XDG_STATE_HOME/penstock``, else ``~/.local/state/penstock`` (XDG base directory specification 0.8)."""
    state = variables.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else home / ".local" / "state") / "penstock"


@dataclass(frozen=True, slots=True)
class Places:
    """The files below one data directory."""

    root: Path

    @property
    def keys(self) -> Path:
        return self.root / "keys.json"

    @property
    def service_password(self) -> Path:
        return self.root / "service.password"

    @property
    def edge(self) -> Path:
        """What only the HTTP edge reads: pepper, hashes of keys, what it needs at the broker's door."""
        return self.root / "edge.json"

    @property
    def broker(self) -> Path:
        """Folder of the broker: its configuration and its store."""
        return self.root / "broker"

    @property
    def config(self) -> Path:
        """What the services read: the operator's configuration with the broker's address filled in."""
        return self.root / "penstock.yaml"

    @property
    def ledger(self) -> Path:
        """The ledger's database, where it has no other."""
        return self.root / "ledger.db"

    @property
    def database_password(self) -> Path:
        """The ledger's, for a Postgres that is made for it; in a folder of its own."""
        return self.root / "database.password"

    @property
    def simulator(self) -> Path:
        return self.root / "simulator.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """What runs now: addresses, process ids, restarts."""
        return self.root / "running.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def prepare(self) -> None:
        """Make the folders, readable by nobody else.

        Raises:
            WrongUse: the directory cannot be made or written.
        """
        try:
            for folder in (self.root, self.broker, self.logs):
                folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            self.root.chmod(PRIVATE_FOLDER)
        except OSError as error:
            raise WrongUse(
                f"the data directory {self.root} cannot be used ({error.strerror}): give --data-dir a place of your own"
            ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner alone from the first byte; durable when this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w", encoding="utf-8", opener=_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _private(name: str, flags: int) -> int:
    descriptor = os.open(name, flags, PRIVATE_FILE)
    os.fchmod(descriptor, PRIVATE_FILE)  # a draft left behind by a crash keeps the mode it had
    return descriptor


@contextmanager
def locked(places: Places) -> Iterator[None]:
    """Hold the data directory until the block ends, or until this process does, however it ends.

    Raises:
        Busy: another appliance holds it.
    """
    with open(places.lock, "a+", encoding="utf-8", opener=_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(_busy(places, file.fileno())) from None
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        yield


def _busy(places: Places, descriptor: int) -> str:
    try:
        holder = f"process {json.loads(os.pread(descriptor, 200, 0))['pid']}"
    except (ValueError, KeyError, TypeError):
        holder = "its process id is not known"
    return (
        f"another appliance uses {places.root} ({holder}): stop it, or start this one with a --data-dir of its own "
        "(and --nats-port 0)"
    )

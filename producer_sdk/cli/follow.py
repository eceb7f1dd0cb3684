"""A batch's results, copied while they come: whole lines only, and from where the last copy stopped."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from producer_sdk.cli.transfers import Gateway, rest
from producer_sdk.errors import InvalidRequest, NotFound, PenstockError, QueueFull, Unreachable

MARK = ".batch"
"""Ending of the file beside the output that names the batch and how far it is copied; removed at the end."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
FILES = (("output", "output_file_id"), ("errors", "error_file_id"))
POLL_FIRST, POLL_LONGEST = 0.25, 2.0
"""Seconds between two looks; they grow while nothing comes."""
RUN = "penstock_run"
"""The pair of a batch's metadata by which a command knows its batch again that died before it heard of it."""


@dataclass
class Place:
    """How far a batch is copied."""

    run: str
    """Random name of this run of the command."""
    file: str = ""
    batch: str = ""
    output: int = 0
    """Bytes of the file of answers."""
    errors: int = 0
    """Bytes of the file of errors."""
    size: int = 0
    """Bytes of our own file up to there."""


class Kept:
    """A place that outlives the command, in a file beside the output; without an output it lives with the command."""

    def __init__(self, out: Path | None) -> None:
        self._mark = out.with_name(out.name + MARK) if out is not None else None
        self.place = Place(run=secrets.token_hex(8))
        if out is None or self._mark is None:
            return
        try:
            self.place = Place(**json.loads(self._mark.read_text(encoding="utf-8")))
        except FileNotFoundError:
            if out.exists() and out.stat().st_size:
                message = f"{out} is there already, and not from a batch that goes on"
                raise InvalidRequest(message, field="out", remedy="name a new file") from None
        except (OSError, ValueError, TypeError) as error:
            message = f"{self._mark} cannot be read: {error}"
            raise InvalidRequest(message, field="out", remedy="remove it, and the batch begins anew") from error

    def save(self) -> None:
        """Write it down."""
        if self._mark is not None:
            partial = self._mark.with_name(self._mark.name + ".partial")
            partial.write_text(json.dumps(asdict(self.place)), encoding="utf-8")
            partial.replace(self._mark)

    def forget(self) -> None:
        """Everything is copied."""
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)


def begin(gateway: Gateway, kept: Kept, file: Path, wish: dict[str, Any], tell: Callable[[int], None]) -> None:
    """Upload and begin what was not begun yet; what was is gone on with."""
    place = kept.place
    if place.batch:
        return
    if place.file:
        place.batch = _begun_before(gateway, place)
    else:
        place.file = gateway.upload(file, "batch", tell)
        kept.save()
    if not place.batch:
        metadata = {**wish.pop("metadata", {}), RUN: place.run}
        made = gateway.ask("POST", "/v1/batches", {**wish, "input_file_id": place.file, "metadata": metadata})
        place.batch = str(made["id"])
    kept.save()


def _begun_before(gateway: Gateway, place: Place) -> str:
    for batch in gateway.ask("GET", "/v1/batches?limit=100")["data"]:
        if (batch.get("metadata") or {}).get(RUN) == place.run:
            return str(batch["id"])
    return ""


def follow(gateway: Gateway, kept: Kept, out: IO[bytes], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Copy the batch's results to ``out`` as they come, until it has ended; the batch. ``tell`` hears where it is."""
    pause = POLL_FIRST
    while True:
        batch = gateway.ask("GET", f"/v1/batches/{kept.place.batch}", patient=True)
        tell(batch)
        ended = batch["status"] in ENDED
        copied = sum([_copy(gateway, kept, out, part, batch.get(name), ended=ended) for part, name in FILES])
        if ended and not copied:
            return batch
        pause = POLL_FIRST if copied else min(1.5 * pause, POLL_LONGEST)
        if not ended:
            rest(pause)


def _copy(gateway: Gateway, kept: Kept, out: IO[bytes], part: str, file: str | None, *, ended: bool) -> int:
    """Copy what has come of one file; how many bytes."""
    if not file:
        return 0
    held, begun = b"", int(getattr(kept.place, part))
    # What is missing comes with the next look. A batch that is found to be none loses its file between two of them.
    passing = (Unreachable, QueueFull) if ended else (Unreachable, QueueFull, NotFound)
    with contextlib.suppress(*passing):
        for data in gateway.content(file, begun):
            whole, newline, held = (held + data).rpartition(b"\n")
            if newline:
                _write(kept, out, part, whole + newline)
    return int(getattr(kept.place, part)) - begun


def _write(kept: Kept, out: IO[bytes], part: str, data: bytes) -> None:
    out.write(data)
    out.flush()
    setattr(kept.place, part, getattr(kept.place, part) + len(data))
    kept.place.size += len(data)
    kept.save()


def opened(path: Path, kept: Kept) -> IO[bytes]:
    """The output file, cut to what the place says. Raises InvalidRequest."""
    try:
        file = path.open("ab", buffering=0)
        if file.seek(0, 2) < kept.place.size:
            raise PenstockError(f"{path} is shorter than what was written to it", remedy="copy to a new file: --batch")
        file.truncate(kept.place.size)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error}", field="out", remedy="name another file") from error
    return file

"""The files of a run: the input, the output it resumes from, and the name by which the gateway knows the run again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from producer_sdk.cli.lines import Line, read_line
from producer_sdk.errors import InvalidRequest

MARK = ".run"
"""Ending of the file beside the output that names the run; removed when every line is done."""


class Input:
    """The lines of a file, read as often as needed. Raises InvalidRequest for a file that cannot be a batch."""

    def __init__(self, path: Path, *, model: str | None) -> None:
        self._path = path
        self._model = model
        self.total = 0
        self.ids: set[str] = set()
        first: dict[str, int] = {}
        for line in self:
            if line.custom_id in first:
                message = f"{path}: lines {first[line.custom_id]} and {line.number} share {line.custom_id!r}"
                raise InvalidRequest(message, field="custom_id", remedy="give every line an id of its own")
            first[line.custom_id] = line.number
            self.total += 1
        self.ids = set(first)

    def __iter__(self) -> Iterator[Line]:
        try:
            with self._path.open(encoding="utf-8-sig") as file:
                for number, text in enumerate(file, 1):
                    if not text.isspace():
                        yield read_line(number, text, model=self._model)
        except (OSError, UnicodeDecodeError) as error:
            why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise InvalidRequest(f"{self._path} cannot be read: {why}", remedy="name a file in UTF-8") from error


@dataclass
class Before:
    """What an earlier run left in the output file."""

    done: set[str] = field(default_factory=set)
    failed: int = 0
    whole: int = 0
    """Bytes of complete lines; what is behind them was cut off by a crash."""


class Output:
    """The output file, one complete line a write, so that a kill loses at most a line that is then made again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = path.with_name(path.name + MARK)
        self._file: IO[bytes] | None = None
        self.before = read_before(path)
        self.run = ""
        """Random name of the run; part of every idempotency key."""

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("ab", buffering=0)
            self._file.truncate(self.before.whole)
            self.run = self._named()
        except OSError as error:
            raise InvalidRequest(f"{self._path} cannot be written: {error}", remedy="name another file") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        if self._file is not None:
            self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def finish(self) -> None:
        """Every line is there: a further run of another output is another run."""
        self._mark.unlink(missing_ok=True)

    def key(self, line: Line) -> str:
        """The idempotency key of a line in this run; a line that was edited meanwhile is another job."""
        asked = json.dumps([line.custom_id, line.request], sort_keys=True, ensure_ascii=False)
        return f"run:{self.run}:{sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"

    def _named(self) -> str:
        try:
            return str(json.loads(self._mark.read_text(encoding="utf-8"))["run"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            run = secrets.token_hex(8)
            partial = self._mark.with_name(self._mark.name + ".partial")
            partial.write_text(json.dumps({"run": run}), encoding="utf-8")
            partial.replace(self._mark)
            return run


def read_before(path: Path) -> Before:
    """What an output file holds; nothing if there is none. Raises InvalidRequest for what is no output."""
    before = Before()
    try:
        with path.open("rb") as file:
            for text in file:
                if not text.endswith(b"\n"):
                    break
                line = json.loads(text)
                before.done.add(line["custom_id"])
                before.failed += line.get("error") is not None
                before.whole += len(text)
    except FileNotFoundError:
        return before
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not the output of an earlier run: {error!r}"
        raise InvalidRequest(message, field="out", remedy="name a new file") from error
    return before

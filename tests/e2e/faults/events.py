"""The event log of a run: what was done, what was told, what broke, what was stored and what the providers billed.

One JSON object a line, in no particular order; ``at`` is UTC seconds on this machine's clock, which all processes of a
run share. The log is written by whoever sees a thing happen and read by ``history``, which alone decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from simulator.reports import BillLine

FaultKind = Literal[
    "leader kill",
    "leader stop",
    "standby kill",
    "schedulers kill",
    "worker kill",
    "worker stop",
    "pool kill",
    "node kill",
    "node stop",
    "leader and node kill",
    "rolling restart",
    "ledger kill",
]
"""What can be done to the processes: ``kill`` is SIGKILL and a restart, ``stop`` SIGSTOP and later SIGCONT."""


class Frozen(BaseModel):
    """A value of the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LimitTold(Frozen):
    """A limit on requests as the configuration says it: ``amount`` in any ``window`` seconds."""

    provider: str
    amount: float
    window: float
    burst: float
    skew: float


class Began(Frozen):
    """The run and what holds in it. ``grant_valid``: seconds a dispatch may wait for its call."""

    kind: Literal["began"] = "began"
    at: float
    seed: int
    pools: tuple[str, ...]
    limits: tuple[LimitTold, ...] = ()
    grant_valid: float = 5.0
    about: dict[str, str] = Field(default_factory=dict)
    """Words for the report: machine, versions, command."""


class Submitted(Frozen):
    """A producer is about to send a job; ``number`` tells apart submissions of one job."""

    kind: Literal["submitted"] = "submitted"
    at: float
    number: int
    producer: str
    project: str
    job: str
    body_hash: str
    keyed: bool = False
    streamed: bool = False
    deadline: float | None = None
    not_before: float | None = None


class Acked(Frozen):
    """The producer was told that the job is durable."""

    kind: Literal["acked"] = "acked"
    at: float
    number: int


class Refused(Frozen):
    """The producer was told no: ``conflict`` of an idempotency key, or anything else in words."""

    kind: Literal["refused"] = "refused"
    at: float
    number: int
    why: str


class CancelAcked(Frozen):
    """The producer was told that its cancel is recorded."""

    kind: Literal["cancel acked"] = "cancel acked"
    at: float
    project: str
    job: str


class Seen(Frozen):
    """The result as the producer was given it."""

    kind: Literal["seen"] = "seen"
    at: float
    number: int
    project: str
    """In whose name the producer is connected; the record says whose it is."""
    body: str
    """The record, as JSON."""


class Heard(Frozen):
    """A result that arrived at a project's own listener, whoever waited for it."""

    kind: Literal["heard"] = "heard"
    at: float
    project: str
    subject: str
    body: str


class Streamed(Frozen):
    """The places of the events of one stream, as a producer's program got them, and the text of the last generation."""

    kind: Literal["streamed"] = "streamed"
    at: float
    number: int
    places: tuple[tuple[int, int], ...]
    text: str


class Struck(Frozen):
    """A fault. ``targets``: processes by name and pid; ``pools``: whose calls it can reach, all if empty."""

    kind: Literal["struck"] = "struck"
    at: float
    id: int
    what: FaultKind
    targets: dict[str, int]
    pools: tuple[str, ...] = ()


class Mended(Frozen):
    """The same fault is over: its targets run again, or were told to go on."""

    kind: Literal["mended"] = "mended"
    at: float
    id: int


class Disturbed(Frozen):
    """A provider began to misbehave, for so many seconds."""

    kind: Literal["disturbed"] = "disturbed"
    at: float
    provider: str
    fault: str
    seconds: float


class Called(Frozen):
    """One call as the provider logged it; ``attempt`` is the name the worker sent along, "" if there was none."""

    kind: Literal["called"] = "called"
    at: float
    ended: float
    provider: str
    attempt: str
    status: int
    outcome: str
    fault: str
    input_tokens: int
    output_tokens: int


class Metered(Frozen):
    """What a provider says that it billed in all."""

    kind: Literal["metered"] = "metered"
    at: float
    provider: str
    requests: int
    input_tokens: int
    output_tokens: int


class Billed(Frozen):
    """What a provider billed for one call."""

    kind: Literal["billed"] = "billed"
    line: BillLine


class Booked(Frozen):
    """An attempt as the ledger's database has it at the end; ``cost`` in picodollars."""

    kind: Literal["booked"] = "booked"
    at: float
    attempt: str
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    cost: int | None


class Summed(Frozen):
    """All that the ledger's database has of a provider: by its sums of hours, days or months, or by its entries."""

    kind: Literal["summed"] = "summed"
    at: float
    of: Literal["hours", "days", "months", "entries"]
    provider: str
    attempts: int = 0
    tokens: int = 0
    """Of prompts and answers."""
    cost: int = 0
    """Picodollars."""


class Stored(Frozen):
    """A message of a stream. ``seen``: ``tail`` while it was written, ``dump`` at the end."""

    kind: Literal["stored"] = "stored"
    at: float
    seen: Literal["tail", "dump"]
    stream: str
    seq: int
    subject: str
    body: str = ""


class Said(Frozen):
    """A line of a process's own log."""

    kind: Literal["said"] = "said"
    at: float
    process: str
    event: str
    fields: dict[str, str] = Field(default_factory=dict)


Event = Annotated[
    Began
    | Submitted
    | Acked
    | Refused
    | CancelAcked
    | Seen
    | Heard
    | Streamed
    | Struck
    | Mended
    | Disturbed
    | Called
    | Metered
    | Billed
    | Booked
    | Summed
    | Stored
    | Said,
    Field(discriminator="kind"),
]

_READER: TypeAdapter[Event] = TypeAdapter(Event)


class EventLog:
    """Writes events to a new file, each at once, so that a run that dies can still be judged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("x", encoding="utf-8", buffering=1)

    def write(self, event: Event) -> None:
        self._file.write(event.model_dump_json(exclude_defaults=False) + "\n")

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Event]:
    """The events of a log."""
    with path.open("rb") as file:
        for line in file:
            yield _READER.validate_json(line)


def write(path: Path, events: Iterable[Event]) -> None:
    """A whole log at once."""
    path.write_text("".join(f"{event.model_dump_json()}\n" for event in events), encoding="utf-8")

"""What the control interface takes and gives, the same in the process and over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from simulator.settings import DialectName, Frozen, Seconds


class Counts(Frozen):
    """Requests by outcome (see ``meter.Outcome``), tokens by kind without overlap, and what they cost."""

    requests: int = 0
    ok: int = 0
    rate_limited: int = 0
    refused: int = 0
    failed: int = 0
    broken: int = 0
    aborted: int = 0
    input_tokens: int = 0
    cached_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


class MeterRow(Counts):
    """One provider, key (by its id, see ``meter.key_id``) and model."""

    provider: str
    key: str
    model: str


class MeterReport(Frozen):
    """What has been billed since the start or the last reset."""

    total: Counts
    rows: tuple[MeterRow, ...]


class BillLine(Frozen):
    """What one request was billed; ``input_tokens`` are all of them. ``at``: seconds of the epoch when it came."""

    at: float
    provider: str
    model: str
    request_id: str
    """What its client named it by, else the provider's own id."""
    outcome: str
    input_tokens: int = 0
    cached_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Those among ``output_tokens``."""
    cost_usd: Decimal = Decimal(0)


class BillReport(Frozen):
    """The last bills, in the order in which their requests ended; ``forgotten``: earlier ones, no longer known."""

    forgotten: int
    lines: tuple[BillLine, ...]


class LimitAudit(Frozen):
    """One limit. ``most``: the largest use in any window of ``period`` seconds. ``burst``: the smallest ``B`` such that
    use never exceeded ``B + limit / period * t`` in any interval of ``t`` seconds.
    """

    dimension: str
    limit: int
    period: float
    total: int
    most: int
    burst: float
    refused: int


class DomainAudit(Frozen):
    """The limits of one key and one model or group of models."""

    provider: str
    key: str
    group: str
    admitted: int
    refused: int
    early_retries: int
    """Requests refused that came before the wait announced to an earlier one was over."""
    in_progress: int
    most_in_progress: int
    limits: tuple[LimitAudit, ...]


class AuditReport(Frozen):
    """``violations``: requests that exceeded a limit."""

    violations: int
    domains: tuple[DomainAudit, ...]


class LogLine(Frozen):
    """One request; ``headers`` without secrets, ``at`` seconds of the epoch, ``fault`` "" if none struck it."""

    at: float
    seconds: float
    provider: str
    key: str
    model: str
    method: str
    path: str
    headers: dict[str, str]
    stream: bool
    status: int
    """0: no response was begun."""
    outcome: str
    fault: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


class FaultOrder(Frozen):
    """A fault to lay: ``fault`` is ``KIND`` or ``KIND@AMOUNT``; ``provider`` None lays it on every provider.

    ``models``: a pattern as in file names. ``times``: how often it strikes at most; ``after``: how many requests it
    lets pass first; ``seconds``: how long it stays.
    """

    fault: str
    provider: str | None = None
    models: str = "*"
    key: str | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    times: Annotated[int, Field(ge=1)] | None = None
    after: Annotated[int, Field(ge=0)] = 0
    seconds: Seconds | None = None


class FaultView(Frozen):
    """A fault in force. ``met``: requests it applied to; ``struck``: those it struck."""

    id: int
    provider: str
    fault: str
    amount: float
    models: str
    key: str | None
    probability: float
    times: int | None
    after: int
    met: int
    struck: int


class ProviderView(Frozen):
    """A provider as it stands. ``base_url`` has no path: an OpenAI client needs ``/v1`` behind it."""

    name: str
    dialect: DialectName
    base_url: str
    listening: bool
    in_progress: int


class Overview(Frozen):
    """Everything there is to reach."""

    url: str
    providers: tuple[ProviderView, ...]


class LogReport(Frozen):
    """The last requests, in the order in which they ended."""

    lines: tuple[LogLine, ...]


class FaultReport(Frozen):
    """The faults in force."""

    faults: tuple[FaultView, ...]


class Laid(Frozen):
    """The ids of faults that have been laid."""

    ids: tuple[int, ...]


class Done(Frozen):
    """An order has been carried out."""

    ok: bool = True

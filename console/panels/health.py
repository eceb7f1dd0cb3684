"""How streams and the ledger's database are, who leads and stands by, which gateways there are, and who agrees."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from console.agreeing import SOON, Agreement, agreement, in_words, standing_by
from console.asking import soon
from console.panels import Desks, Panel
from job_contracts import subjects
from runtime.bus.port import BusError, NotFound
from runtime.connection import declared

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from console.people import Person
    from job_contracts.key_asking import ToldEdges
    from job_contracts.operating import Overview, ToldStandby
    from job_contracts.spend import LedgerState
    from runtime.bus.port import ConsumerState, StreamState

State = Literal["good", "watch", "bad"]
EVERY = 2.0
"""Seconds between two states: each asks the broker once for each stream."""
WATCH, BAD = 0.6, 0.8
"""Shares of a stream's limit; the second is that of the alert."""
LATE = 120.0
"""Seconds the ledger may be behind; that of the alert."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is well or not: what it is, how it is, what that means, and which page says what to do."""

    what: str
    state: State
    how: str
    means: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of the manifest; ``now`` is ``None`` while nobody tells how it is."""

    name: str
    state: State
    now: StreamState | None
    share: float | None
    consumers: Mapping[str, ConsumerState]
    rolls: bool = False
    """Whether it drops the oldest when it is full, rather than refuse what is new."""
    why: str = ""


async def _read(desks: Desks, _: Person, __: Mapping[str, str]) -> Mapping[str, Any]:
    assets = declared(desks.config)
    configs = [asset["config"] for asset in assets if asset["kind"] == "stream"]
    consumed = {str(asset["stream"]) for asset in assets if asset["kind"] == "consumer"}
    streams, leading, standby, edges, ledger = await asyncio.gather(
        asyncio.gather(*(_stream(desks, config, consumers=config["name"] in consumed) for config in configs)),
        _or_why(desks.asking.overview()),
        standing_by(desks),
        _or_why(desks.edges.edges()),
        _or_why(desks.ledger.state()),
    )
    held = {stream.name: stream.now for stream in streams}.get(subjects.LEDGER)
    agreed = agreement(
        desks.configured,
        leading=None if isinstance(leading, str) else leading,
        standby=standby,
        edges=None if isinstance(edges, str) else edges,
        ledger=None if isinstance(ledger, str) else ledger,
    )
    lines = [
        _broker(desks),
        _streams(streams),
        _leader(leading),
        _stands_by(standby),
        _edges(edges),
        _ledger(ledger, held),
        _configuration(agreed),
    ]
    return {
        "lines": lines,
        "streams": streams,
        "edges": None if isinstance(edges, str) else edges.edges,
        "leader": None if isinstance(leading, str) else leading.leader,
        "ledger": None if isinstance(ledger, str) else ledger,
        "unread": _unread(ledger, held),
        "now": desks.clock.wall(),
        "watch": WATCH,
        "bad": BAD,
    }


async def _or_why(asking: Awaitable[T]) -> T | str:
    """What was answered, or in words why nothing was."""
    answer, why = await soon(asking, SOON)
    return why if answer is None else answer


async def _stream(desks: Desks, config: Mapping[str, Any], *, consumers: bool) -> Stream:
    name, rolls = str(config["name"]), config["discard"] == "old"
    try:
        async with asyncio.timeout(SOON):
            now = await desks.bus.stream_state(name)
            found = await desks.bus.consumer_states(name) if consumers else {}
    except NotFound:
        return Stream(name, "bad", None, None, {}, why="there is no such stream")
    except (BusError, TimeoutError):
        return Stream(name, "bad", None, None, {}, why="it has no leader that answers")
    share = _share(now)
    full = 0.0 if share is None or rolls else share  # one that drops the oldest is full in health
    state: State = "bad" if full >= BAD else "watch" if now.behind or full >= WATCH else "good"
    why = f"behind: {', '.join(now.behind)}" if now.behind else ""
    return Stream(name, state, now, share, found, rolls=rolls, why=why)


def _share(now: StreamState) -> float | None:
    """Of the nearer of its limits, how much is used; ``None`` without any."""
    limits = ((now.messages, now.max_messages), (now.bytes, now.max_bytes))
    return max((have / most for have, most in limits if most > 0), default=None)


# -- in words


def _broker(desks: Desks) -> Line:
    if desks.bus.connected:
        return Line("Broker", "good", f"connected to {desks.bus.server}")
    means = "Nothing is taken in and nothing is dispatched; what was accepted is kept."
    return Line("Broker", "bad", "this console is not connected", means, "PenstockProcessDown")


def _streams(streams: list[Stream]) -> Line:
    bad = [one for one in streams if one.state == "bad"]
    watch = [one for one in streams if one.state == "watch"]
    if bad:
        how = "; ".join(f"{one.name}: {one.why or _percent(one.share)}" for one in bad)
        means = "A stream that is full refuses what is new; one without a leader takes nothing."
        return Line("Streams", "bad", how, means, "PenstockStreamFull")
    if watch:
        how = "; ".join(f"{one.name}: {one.why or _percent(one.share)}" for one in watch)
        means = "It is filling up, or a copy is not current: one more failure would count."
        return Line("Streams", "watch", how, means, "PenstockStreamFull")
    return Line("Streams", "good", f"all {len(streams)} are there and have room")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} % of its limit"


def _leader(leading: Overview | str) -> Line:
    if isinstance(leading, str):
        means = "Jobs are accepted and kept, and none is dispatched until somebody leads."
        return Line("Leader", "bad", leading, means, "PenstockNoLeader")
    return Line("Leader", "good", f"{leading.leader.owner} leads, term {leading.leader.term}")


def _stands_by(standby: ToldStandby | None) -> Line:
    means = "If the leader goes, nothing is dispatched until a scheduler has started and read the queue."
    if standby is None:
        return Line("Standby", "watch", "whether one is there is not known", means, "PenstockNoLeader")
    if not standby.owner:
        return Line("Standby", "watch", "none stands by", means, "PenstockNoLeader")
    return Line("Standby", "good", f"{standby.owner} stands by")


def _edges(edges: ToldEdges | str) -> Line:
    if isinstance(edges, str):
        means = "Nothing comes in over HTTP, and nobody new is let in at the broker. Producers that are there go on."
        return Line("Gateways", "bad", edges, means, "PenstockProcessDown")
    there = len(edges.edges)
    return Line("Gateways", "good", f"{there} {'is' if there == 1 else 'are'} there")


def _ledger(ledger: LedgerState | str, held: StreamState | None) -> Line:
    if isinstance(ledger, str):
        means = "Jobs go on. What they cost is kept in LEDGER and read later; hard budgets close when it is away long."
        return Line("Ledger", "bad", ledger, means, "PenstockLedgerBehind")
    if ledger.wrong is not None:
        return Line("Ledger", "bad", ledger.wrong, "It reads nothing until its tables fit.", "PenstockLedgerBehind")
    if ledger.missed:
        how = f"{ledger.missed_messages} messages were gone from LEDGER before they were read"
        means = "What they told is in no sum: ask the providers' statements."
        return Line("Ledger", "watch", how, means, "PenstockFactsLost")
    unread = _unread(ledger, held) or 0
    late = unread > 0 and (ledger.lag or 0.0) > LATE
    count = "1 message is" if unread == 1 else f"{unread:,} messages are"
    how = f"{count} not read yet" if unread else "it has read all there is"
    if late:
        return Line("Ledger", "bad", how, "Sums and budgets lag behind what is spent.", "PenstockLedgerBehind")
    return Line("Ledger", "good", how)


def _configuration(agreed: Agreement) -> Line:
    told = []
    if agreed.apart:
        told.append(f"another one than this console's: {in_words(agreed.apart)}")
    if agreed.untold:
        told.append(f"not told by {in_words(agreed.untold)}")
    if agreed.unheard:
        told.append(f"not known of {', '.join(agreed.unheard)}")
    if not told:
        return Line("Configuration", "good", f"the same for all {len(agreed.services):,} services and this console")
    if agreed.apart:
        means = "Each follows the file that it read when it started: one has an old file, or was not restarted since."
    else:
        means = "Whether they follow the same file is not known; a service of an older version does not tell."
    return Line("Configuration", "watch", "; ".join(told), means)


def _unread(ledger: LedgerState | str, held: StreamState | None) -> int | None:
    """Messages in LEDGER that are in no sum yet, at most."""
    if isinstance(ledger, str) or held is None:
        return None
    return max(0, min(held.messages, held.last_seq - ledger.position))


HEALTH = Panel("health", "Health", "b", _read, group="System", every=EVERY)

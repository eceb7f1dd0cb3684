"""Whether the other services run with the configuration that this console has, as they tell in what they answer.

Compared is what all must agree on (``runtime.agreed``). Who does not answer within a second is not waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from console.asking import soon
from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.operating import ToldStandby
from runtime.bus.port import BusError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.panels import Desks
    from job_contracts.configured import Configured
    from job_contracts.key_asking import ToldEdges
    from job_contracts.operating import Overview
    from job_contracts.spend import LedgerState

SOON = 1.0
"""Seconds each answer may take."""
NAMED = 5
"""Services that are named in a sentence; the page of the configuration names the others."""

Kind = Literal["leader", "standby", "worker", "gateway", "ledger"]


@dataclass(frozen=True, slots=True)
class Service:
    """One service, and in which parts its configuration is another one."""

    kind: Kind
    name: str
    told: Configured | None
    """``None``: it does not tell, because its version is older."""
    apart: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a sentence calls it."""
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Agreement:
    """All services that were heard of; ``unheard``: those of whom nothing is known."""

    services: tuple[Service, ...]
    unheard: tuple[str, ...] = ()

    @property
    def apart(self) -> tuple[Service, ...]:
        """Those that run with another configuration."""
        return tuple(one for one in self.services if one.apart)

    @property
    def untold(self) -> tuple[Service, ...]:
        """Those that do not tell."""
        return tuple(one for one in self.services if one.told is None)

    @property
    def alike(self) -> int:
        """How many run with this console's."""
        return len(self.services) - len(self.apart) - len(self.untold)


def agreement(
    own: Configured,
    *,
    leading: Overview | None,
    standby: ToldStandby | None,
    edges: ToldEdges | None,
    ledger: LedgerState | None,
) -> Agreement:
    """Of what was answered; ``None``: nobody did, or it is not known. A standby without a name is none."""
    answers = {"scheduler and workers": leading, "standby": standby, "gateways": edges, "ledger": ledger}
    found = (*_led(leading), *_others(standby, edges, ledger))
    services = tuple(Service(kind, name, told, () if told is None else own.apart(told)) for kind, name, told in found)
    return Agreement(services, tuple(name for name, answer in answers.items() if answer is None))


def _led(leading: Overview | None) -> Iterator[tuple[Kind, str, Configured | None]]:
    if leading is None:
        return
    yield "leader", leading.leader.owner, leading.leader.configured
    for pool in leading.pools:
        for worker in pool.workers:
            yield "worker", f"{pool.name} {worker.name}", worker.configured


def _others(
    standby: ToldStandby | None, edges: ToldEdges | None, ledger: LedgerState | None
) -> Iterator[tuple[Kind, str, Configured | None]]:
    if standby is not None and standby.owner:
        yield "standby", standby.owner, standby.configured
    for edge in () if edges is None else edges.edges:
        yield "gateway", edge.name, edge.configured
    if ledger is not None:
        yield "ledger", "", ledger.configured


async def asked(desks: Desks) -> Agreement:
    """Ask everybody at once."""
    (leading, _), standby, (edges, _), (ledger, _) = await asyncio.gather(
        soon(desks.asking.overview(), SOON),
        standing_by(desks),
        soon(desks.edges.edges(), SOON),
        soon(desks.ledger.state(), SOON),
    )
    return agreement(desks.configured, leading=leading, standby=standby, edges=edges, ledger=ledger)


async def standing_by(desks: Desks) -> ToldStandby | None:
    """One that stands by, of several whoever answers first; without a name if there is none, ``None``: not known."""
    subject = subjects.standing_by(desks.config.scheduler.shard)
    try:
        said = (await desks.bus.request(subject, b"{}", timeout=SOON)).data
    except Unreachable:
        return ToldStandby(owner="") if desks.bus.connected else None
    except BusError:
        return None
    try:
        return decode(ToldStandby, said)
    except ContractError:  # one of an older version, which says its name alone
        return ToldStandby(owner=said.decode(errors="replace"))


def in_words(those: tuple[Service, ...]) -> str:
    """Their names, the first few."""
    named = [f"{one} ({', '.join(one.apart)})" if one.apart else str(one) for one in those[:NAMED]]
    more = len(those) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")

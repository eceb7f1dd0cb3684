"""Fetches the books of the tour: facts from LEDGER, bills from the simulator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appliance.configuration import SERVICE_USER
from appliance.demo.books import Books, balanced
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.facts import AttemptFact, Facts
from runtime.bus import BusSettings, NatsBus, connect

if TYPE_CHECKING:
    from appliance.assembly import Assembly
    from appliance.demo.stage import Stage

LOOK = 0.25

_MARKS = subjects.barrier(subjects.LEDGER, 0).removesuffix("0")


async def services_bus(assembly: Assembly) -> NatsBus:
    """A connection with the services' own rights; the caller closes it."""
    password = assembly.keys.service_password
    return await connect(BusSettings(url=assembly.nats_url, user=SERVICE_USER, password=password, name="tour"))


async def books(assembly: Assembly, stage: Stage) -> Books:
    """Both, once all jobs have ended: a result is stored after its attempt's fact, so nothing is missing."""
    bus = await services_bus(assembly)
    try:
        facts = await _facts(bus)
    finally:
        await bus.close()
    return balanced(facts, await stage.bills())


async def _facts(bus: NatsBus) -> list[AttemptFact]:
    """Every fact that LEDGER holds."""
    state = await bus.stream_state(subjects.LEDGER)
    found: list[AttemptFact] = []
    at = state.first_seq
    while at <= state.last_seq:
        messages = await bus.run(subjects.LEDGER, at)
        if not messages:  # what a replica does not have yet it has soon
            await asyncio.sleep(LOOK)
            continue
        for message in messages:
            if not message.subject.startswith(_MARKS):
                found += decode(Facts, message.data).facts
        at = messages[-1].seq + 1
    return found

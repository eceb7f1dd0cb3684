"""Fetches the books of the tour: facts from LEDGER, sums from ``/v1/spend``, bills from the simulator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appliance.configuration import SERVICE_USER
from appliance.demo.books import Account, Books, as_told, balanced, counting
from appliance.http import NoAnswer, ask
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.facts import AttemptFact, Facts
from runtime.bus import BusSettings, NatsBus, connect

if TYPE_CHECKING:
    from appliance.assembly import Assembly
    from appliance.demo.stage import Stage

WITHIN = 15.0
"""Seconds in which the ledger must have counted what LEDGER holds."""
LOOK = 0.25

_MARKS = subjects.barrier(subjects.LEDGER, 0).removesuffix("0")


async def services_bus(assembly: Assembly) -> NatsBus:
    """A connection with the services' own rights; the caller closes it."""
    password = assembly.keys.service_password
    return await connect(BusSettings(url=assembly.nats_url, user=SERVICE_USER, password=password, name="tour"))


async def books(assembly: Assembly, stage: Stage) -> Books:
    """All three, once the ledger has caught up or had its time; what differs then is told by the verdict."""
    bus = await services_bus(assembly)
    try:
        facts = await _facts(bus)
    finally:
        await bus.close()
    told = len(counting(facts))
    ledger, loop = Account(), asyncio.get_running_loop()
    until = loop.time() + WITHIN
    while loop.time() < until:
        ledger = await _ledger(assembly)
        if ledger.attempts >= told:
            break
        await asyncio.sleep(LOOK)
    return balanced(facts, ledger, await stage.bills())


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


async def _ledger(assembly: Assembly) -> Account:
    """What was spent, by the ledger: the sum over the projects, each asked with its own key."""
    total = Account()
    for key in assembly.keys.projects.values():
        try:
            told = await ask(f"{assembly.gateway_url}/v1/spend", key=key.get_secret_value(), timeout=10.0)
        except NoAnswer:
            return Account()
        if told.status != 200:
            return Account()
        total += as_told(told.json["total"])
    return total

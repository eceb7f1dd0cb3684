"""``python -m scheduler simulate`` and ``what-if``: the policy asked by a person, beside any leader.

Neither touches what a leader decides: the first needs a configuration alone, the second reads the ledger's facts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from catalogue.load import CatalogueError, providers
from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.desk import Planned
from job_contracts.facts import AttemptFact, Facts
from runtime import command
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.config import ConfigError, load
from runtime.connection import bus_settings
from runtime.settings import Config
from scheduler.policy.board import Board
from scheduler.policy.facts import PoolSeen
from scheduler.policy.resolving import rules_from
from scheduler.whatif import exports
from scheduler.whatif.sides import compared, text

if TYPE_CHECKING:
    from runtime.bus.port import Bus, Message
    from scheduler.policy.rules import Rules

BAD_INPUT = 65
"""Exit status for a question or a file that cannot be read (``EX_DATAERR`` of sysexits)."""
BEHIND = 75
"""Exit status when not all facts could be read (``EX_TEMPFAIL``)."""
CATCH_UP = 300.0
"""Seconds in which all facts are to be read."""
SLOTS = 10_000
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class Behind(Exception):
    """Not all facts could be read in time."""


class Unreadable(Exception):
    """What was asked, or a file of facts, cannot be read; the text says why."""


# ------------------------------------------------------------------------------------------------------------ simulate


async def simulate(config: Config, arguments: Namespace) -> int:
    """Where a job would go by a configuration alone; the answer is an ``Estimate`` as JSON."""
    try:
        planned = decode(Planned, sys.stdin.buffer.read())
        wall = SystemClock().wall() if arguments.at is None else moment(arguments.at, SystemClock().wall())
    except (ContractError, Unreadable) as error:
        sys.stderr.write(f"the question cannot be read: {error}\n")
        return BAD_INPUT
    project = arguments.project or next(iter(config.projects), "")
    board = fresh(_rules(config), wall)
    sys.stdout.write(encode(board.estimate(project, planned, 0.0)).decode() + "\n")
    return 0


def fresh(rules: Rules, wall: float) -> Board:
    """A board to which nothing has happened, with workers in every pool."""
    board = Board(rules, now=0.0, wall=wall)
    board.trust_spending(True)
    for pool in {rule.provider: None for rule in rules.domains.values()}:
        board.apply(PoolSeen(pool, SLOTS), 0.0)
    return board


# ------------------------------------------------------------------------------------------------------------- what if


async def what_if(config: Config, arguments: Namespace) -> int:
    """The jobs of a period through the configuration as it is (``--against``) and as it would be (``--config``)."""
    try:
        current = load(arguments.against, credentials_of=())
    except ConfigError as error:
        raise command.Unusable(str(error)) from error
    now = SystemClock().wall()
    try:
        # A file is its own period.
        since = moment(arguments.since or ("1d" if arguments.facts is None else "1970-01-01"), now)
        until = now if arguments.until is None else moment(arguments.until, now)
        if arguments.facts is not None:
            every, notes = _file(arguments.facts)
        else:
            every, notes = await _ledger(current, arguments), ()
    except Unreadable as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    except Behind:
        sys.stderr.write("the facts could not all be read in time: try again\n")
        return BEHIND
    project = arguments.project
    facts = [
        fact
        for fact in every
        if since <= (fact.submitted or fact.started) < until and (project is None or fact.project == project)
    ]
    if not facts:
        sys.stderr.write("there are no facts of that period\n")
        return BAD_INPUT
    sides = compared(facts, {"as it is": _rules(current), "changed": _rules(config)}, seed=arguments.seed, notes=notes)
    sys.stdout.write(json.dumps(sides.as_json()) + "\n" if arguments.json else text(sides))
    return 0


async def _ledger(config: Config, arguments: Namespace) -> list[AttemptFact]:
    nats = config.nats if not arguments.nats else config.nats.model_copy(update={"url": arguments.nats})
    bus = await connect(bus_settings(nats, name="scheduler what-if"))
    try:
        found, unreadable = await told(bus)
    finally:
        await bus.close()
    if unreadable:
        sys.stderr.write(f"{unreadable} messages of facts cannot be read and are left out\n")
    return found


async def told(bus: Bus, *, patience: float = CATCH_UP) -> tuple[list[AttemptFact], int]:
    """All facts that the broker keeps, and how many messages of them cannot be read. Raises Behind and BusError."""
    found: list[AttemptFact] = []
    unreadable: list[int] = []

    def read(message: Message) -> None:
        if message.subject.startswith(f"{subjects.PREFIX}.ledger_barrier."):
            return
        try:
            found.extend(decode(Facts, message.data).facts)
        except ContractError:
            unreadable.append(message.seq)

    last = (await bus.stream_state(subjects.LEDGER)).last_seq
    tail = await bus.tail(subjects.LEDGER, read)
    try:
        if not await tail.caught_up(last, timeout=patience):
            raise Behind
    finally:
        await tail.close()
    return found, len(unreadable)


def _file(path: Path) -> tuple[list[AttemptFact], tuple[str, ...]]:
    """Facts of a file, and what is approximated in them. Raises Unreadable."""
    try:
        return exports.read(path.read_bytes())
    except OSError as error:
        message = f"{path.name}: {error.strerror}"
        raise Unreadable(message) from error
    except exports.NoFacts as error:
        message = f"{path.name}: {error}"
        raise Unreadable(message) from error


def moment(text_: str, now: float) -> float:
    """UTC seconds of ``12h`` (ago), a day (UTC), or a moment with its zone. Raises Unreadable."""
    ago = _AGO.fullmatch(text_.strip())
    if ago is not None:
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text_)
    except ValueError:
        found = None
    day = len(text_) == len("2026-11-01")
    if found is None or (found.tzinfo is None and not day):
        message = f"{text_!r} is no moment: write 1d, 2026-11-01, or 2026-11-01T10:00:00Z"
        raise Unreadable(message)
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).timestamp()


def _rules(config: Config) -> Rules:
    try:
        return rules_from(config, providers(config.catalogue))
    except CatalogueError as error:
        raise command.Unusable(str(error)) from error


# -------------------------------------------------------------------------------------------------------- command line

COMMANDS: Mapping[str, Callable[[Config, Namespace], Awaitable[int]]] = MappingProxyType(
    {"simulate": simulate, "what-if": what_if}
)


def main(given: Sequence[str]) -> int:
    """Read the command line and do what it says; ``given`` begins with one of ``COMMANDS``."""
    parser = argparse.ArgumentParser(prog="python -m scheduler")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("simulate", help="where a job (a Planned as JSON on standard input) would go")
    one.add_argument("--project", metavar="NAME", help="for whom; default: the first of the configuration")
    one.add_argument("--at", metavar="TIME", help="a moment, for prices and constraints of then; default: now")
    two = commands.add_parser("what-if", help="a period's jobs through a changed configuration")
    two.add_argument("--against", type=Path, required=True, metavar="FILE", help="the configuration as it is")
    two.add_argument("--facts", type=Path, metavar="FILE", help="facts, one a line, in place of the broker's")
    two.add_argument("--since", metavar="TIME", help="a time ago, a day, or a moment; default: 1d, or all of --facts")
    two.add_argument("--until", metavar="TIME", help="the first moment that does not belong to it; default: now")
    two.add_argument("--project", metavar="NAME", help="jobs of one project alone")
    two.add_argument("--seed", type=int, default=0, metavar="N", help="another one is other luck")
    two.add_argument("--json", action="store_true", help="as JSON")
    for each in (one, two):
        each.add_argument("--config", type=Path, required=True, metavar="FILE", help="the YAML configuration")
        each.add_argument("--nats", metavar="URL", help="address of the broker, or of each node")
    arguments = parser.parse_args(given)
    return command.main(arguments, COMMANDS[arguments.command])

"""``python -m ledger reconcile`` and ``python -m ledger forget``: what a person does now and then."""

from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from catalogue.load import CatalogueError, providers
from job_contracts.money import dollars
from ledger import reconcile as reconciling
from ledger import retention, statements
from ledger.database import BadAddress, Database, NoDatabase
from ledger.drift import WORDS, Cause, Drift, Figures
from runtime import command
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.config import DATABASE
from runtime.connection import bus_settings
from runtime.settings import Config

if TYPE_CHECKING:
    from job_contracts.facts import AttemptFact
    from ledger.statement_lines import Line

NO_DATABASE = 69
"""As when a ledger starts."""
DRIFTED = 1
"""Exit status when something differs by more than ``ledger.alerts.drift``."""
BAD_INPUT = 65
"""Exit status for a file that is no statement (``EX_DATAERR`` of sysexits)."""
BEHIND = 75
"""Exit status when it could not be done now: the ledger has not read what was told, or its file is in use
(``EX_TEMPFAIL``)."""


async def reconcile(config: Config, arguments: Namespace) -> int:
    """Compare a provider's statement with ours; returns the exit status."""
    if arguments.provider not in config.providers:
        known = ", ".join(sorted(config.providers))
        raise command.Unusable(f"there is no provider {arguments.provider!r} (there are: {known})")
    try:
        data, lines = _read(arguments)
        rows = providers(config.catalogue)
    except statements.BadStatement as error:
        sys.stderr.write(f"the statement cannot be used: {error}\n")
        return BAD_INPUT
    except CatalogueError as error:
        raise command.Unusable(str(error)) from error
    settings = config.providers[arguments.provider]
    aliases = reconciling.aliases_of(rows.get(settings.catalogue or arguments.provider))

    async def compare(database: Database) -> int:
        wrong = await database.wrong()
        if wrong is not None:
            raise command.Unusable(wrong)
        threshold = config.ledger.alerts.drift
        drift = await reconciling.reconcile(database, arguments.provider, lines, threshold=threshold, aliases=aliases)
        await reconciling.keep(database, arguments.provider, data, drift, at=SystemClock().wall())
        if arguments.adjust:
            try:
                facts = await _adjust(config, arguments, database, lines)
            except reconciling.Behind as error:
                sys.stderr.write(f"nothing was corrected: {error}\n")
                return BEHIND
        else:
            facts = await reconciling.corrections(database, arguments.provider, lines, complete=arguments.complete)
        told = as_json(drift, facts, adjusted=arguments.adjust)
        sys.stdout.write(json.dumps(told, indent=2) + "\n" if arguments.json else _text(told))
        return DRIFTED if drift.over else 0

    return await _with(config, arguments, compare)


async def forget(config: Config, arguments: Namespace) -> int:
    """Remove all that single out a project; returns the exit status."""
    if not arguments.yes:
        raise command.Unusable(f"what there is of {arguments.project!r} would be gone for good: say so with --yes")

    async def remove(database: Database) -> int:
        wrong = await database.wrong()
        if wrong is not None:
            raise command.Unusable(wrong)
        gone = await retention.forget(database, arguments.project, SystemClock().wall())
        sys.stdout.write(
            f"removed: {gone.attempts} attempts, {gone.entries} entries; {gone.sums} sums are nobody's now\n"
        )
        if not await retention.scrub(database):
            sys.stderr.write("the file was in use, and its free pages may still hold what was removed: run it again\n")
            return BEHIND
        return 0

    return await _with(config, arguments, remove)


COMMANDS: Mapping[str, Callable[[Config, Namespace], Awaitable[int]]] = MappingProxyType(
    {"reconcile": reconcile, "forget": forget}
)


def main(given: Sequence[str]) -> int:
    """Read the command line and do what it says; ``given`` begins with one of ``COMMANDS``."""
    parser = argparse.ArgumentParser(prog="python -m ledger")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("reconcile", help="compare a provider's statement with what we counted")
    one.add_argument("files", type=Path, nargs="+", metavar="FILE", help="usage and cost exports of the same days")
    one.add_argument("--provider", required=True, metavar="NAME", help="whose, as the configuration names it")
    one.add_argument("--format", choices=statements.FORMS, default="auto", help="told by the content by default")
    one.add_argument("--adjust", action="store_true", help="correct single attempts that the statement names")
    one.add_argument("--complete", action="store_true", help="calls of its days that it does not name were not billed")
    one.add_argument("--json", action="store_true", help="as JSON")
    two = commands.add_parser("forget", help="remove what there is of a project")
    two.add_argument("project", metavar="PROJECT")
    two.add_argument("--yes", action="store_true", help="it cannot be undone")
    for each in (one, two):
        each.add_argument("--config", type=Path, required=True, metavar="FILE", help="the YAML configuration")
        each.add_argument("--nats", metavar="URL", help="address of the broker, or of each node")
    arguments = parser.parse_args(given)
    return command.main(arguments, COMMANDS[arguments.command], credentials_of={DATABASE})


def _read(arguments: Namespace) -> tuple[bytes, list[Line]]:
    """Bytes and lines of all files. Raises BadStatement, which names the file."""
    data, lines = b"", list[statements.Line]()
    for path in arguments.files:
        try:
            with path.open("rb") as file:
                some = file.read(statements.MAX_BYTES + 1)
            lines += statements.read(some, arguments.format).lines
        except OSError as error:
            raise statements.BadStatement(f"{path.name}: {error.strerror}") from error
        except statements.BadStatement as error:
            raise statements.BadStatement(f"{path.name}: {error}") from error
        data += some
    return data, lines


async def _with(config: Config, arguments: Namespace, act: Callable[[Database], Awaitable[int]]) -> int:
    try:
        database = Database(config.ledger.database.get_secret_value(), arguments.config.parent)
    except BadAddress as error:
        raise command.Unusable(str(error)) from error
    try:
        await database.wait(config.ledger.wait)
        return await act(database)
    except (NoDatabase, SQLAlchemyError) as error:
        sys.stderr.write(f"the ledger's database does not answer: {type(error).__name__}\n")
        return NO_DATABASE
    finally:
        await database.close()


async def _adjust(config: Config, arguments: Namespace, database: Database, lines: list[Line]) -> list[AttemptFact]:
    bus = await connect(bus_settings(config.nats, name="ledger reconcile"))
    try:
        return await reconciling.adjust(database, bus, arguments.provider, lines, complete=arguments.complete)
    finally:
        await bus.close()


def as_json(drift: Drift, facts: Sequence[AttemptFact], *, adjusted: bool) -> dict[str, Any]:
    """The drift as plain values; money in dollars, as text."""
    return {
        "over": drift.over,
        "threshold": drift.threshold,
        "worst": drift.worst,
        "ours": _figures(drift.ours),
        "theirs": _figures(drift.theirs),
        "rows": [
            {
                "day": row.day.isoformat(),
                "models": row.models,
                "cause": row.cause.value,
                "words": WORDS[row.cause],
                "hours": row.hours,
                "tokens": row.tokens,
                "money": row.money,
                "over": row.over,
                "ours": _figures(row.ours),
                "theirs": _figures(row.theirs),
            }
            for row in drift.rows
        ],
        "corrections": len(facts),
        "told": len(facts) if adjusted else 0,
    }


def _figures(one: Figures) -> dict[str, Any]:
    return {**asdict(one), "cost": None if one.cost is None else f"{dollars(one.cost):f}"}


def _text(told: Mapping[str, Any]) -> str:
    lines = []
    for row in told["rows"]:
        if row["cause"] == Cause.NONE.value:
            continue
        when = f" (their day begins at {row['hours']:02}:00 UTC)" if row["hours"] is not None else ""
        mark = "!" if row["over"] else " "
        apart = f"tokens {_percent(row['tokens'])}, money {_percent(row['money'])}"
        lines.append(f"{mark} {row['day']} {', '.join(row['models'])}: {apart}: {row['words']}{when}")
    agree = sum(row["cause"] == Cause.NONE.value for row in told["rows"])
    lines.append(f"{agree} of {len(told['rows'])} days and models agree")
    for side in ("ours", "theirs"):
        one = told[side]
        cost = "not told" if one["cost"] is None else f"{one['cost']} dollars"
        lines.append(f"{side}: {one['input']} input and {one['output']} output tokens, {cost}")
    if told["corrections"]:
        done = "told to the ledger" if told["told"] else "offered: --adjust tells them to the ledger"
        lines.append(f"{told['corrections']} corrections of single attempts {done}")
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "not told" if share is None else f"{share:+.2%}"

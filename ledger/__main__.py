"""``python -m ledger --config FILE`` wires the ledger's process together; ``python -m ledger migrate`` its tables."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from catalogue.load import CatalogueError, providers
from ledger import commands
from ledger.alerts import Alerts
from ledger.database import BadAddress, BadRevision, Database, NoDatabase
from ledger.desk import Desk
from ledger.instruments import INSTRUMENTS, gauges
from ledger.key_budgets import KeyBudgets
from ledger.retention import Retention
from ledger.service import Ledger
from ledger.watching import Watch
from ledger.webhook import BadWebhook, Webhook, check
from runtime import command
from runtime.agreed import configured
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.collecting import set_aside
from runtime.config import DATABASE
from runtime.connection import bus_settings, prepare
from runtime.health import Health
from runtime.service import Service
from runtime.settings import Config
from runtime.telemetry import COMMON, INFO, Metrics, Telemetry, write_logs

NO_DATABASE = 69
"""Exit status when the database does not answer at the start (as for the broker); the supervisor tries again."""
FAILED = 1
"""Exit status of a migration that failed; the tables are what they were."""


async def serve(config: Config, arguments: Namespace) -> int:
    """Run one ledger process until it is told to stop; returns the exit status."""
    telemetry, metrics, clock = Telemetry(), Metrics("ledger"), SystemClock()
    command.crash_points(telemetry, "ledger")
    write_logs(telemetry, "ledger", sys.stdout.write)
    metrics.configured(configured(config).fingerprint)
    command.crash_points(telemetry, "ledger")
    metrics.listen(telemetry, (*COMMON, *INSTRUMENTS))
    settings = config.ledger
    try:
        check(settings.alerts)
        catalogue = providers(config.catalogue)
    except (BadWebhook, CatalogueError) as error:
        raise command.Unusable(str(error)) from error
    database = _database(config, arguments)
    try:
        await database.wait(settings.wait)
        automatic = database.kind == "sqlite" if settings.auto_migrate is None else settings.auto_migrate
        if automatic:
            try:
                with suppress(BadRevision):  # a newer version has been here: the ledger says so, and is not ready
                    telemetry.emit("ledger.migrated", INFO, revision=await database.migrate())
            except SQLAlchemyError as error:
                return _failed(error)
        owner = arguments.name or f"{socket.gethostname()}-{os.getpid()}"
        bus = await connect(bus_settings(config.nats, name=f"ledger {owner}"))
        try:
            await prepare(bus, config)
            ledger = Ledger(bus, database, settings, clock, telemetry)
            health = Health(telemetry, metrics, host=arguments.health_host, port=arguments.health_port)
            health.check("ledger", lambda: ledger.ready)
            gauges(metrics, ledger)
            service = Service("ledger", telemetry)
            keys = KeyBudgets(bus, clock, telemetry, config)
            watch = Watch(database, config, keys.payers)
            service.add(
                health,
                ledger,
                keys,
                Desk(bus, database, catalogue, config, telemetry, clock=clock),
                Alerts(database, watch, clock, telemetry, settings.alerts),
                Webhook(database, clock, telemetry, settings.alerts),
                Retention(database, clock, telemetry, keep_days=settings.keep_days),
            )
            set_aside()
            return await service.run()
        finally:
            await bus.close()
    except NoDatabase as error:
        return _unanswered(error)
    finally:
        await database.close()


async def migrate(config: Config, arguments: Namespace) -> int:
    """Bring the tables up to date, or back; returns the exit status."""
    database = _database(config, arguments)
    try:
        await database.wait(config.ledger.wait)
        if arguments.to is not None:
            revision = await database.downgrade(arguments.to)
        else:
            revision = await database.migrate(after=arguments.after)
    except NoDatabase as error:
        return _unanswered(error)
    except BadRevision as error:
        sys.stderr.write(f"nothing was changed: {error}\n")
        return FAILED
    except SQLAlchemyError as error:
        return _failed(error)
    finally:
        await database.close()
    sys.stdout.write(f"the ledger's tables are at revision {revision}\n")
    return 0


def _database(config: Config, arguments: Namespace) -> Database:
    folder: Path = arguments.config.parent
    try:
        settings = config.ledger
        url = settings.database.get_secret_value()
        return Database(url, folder, connect=settings.connect_timeout, command=settings.command_timeout)
    except BadAddress as error:
        raise command.Unusable(str(error)) from error


def _failed(error: SQLAlchemyError) -> int:
    """In the database's own words, without the statement and its parameters."""
    words = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
    sys.stderr.write(f"the migration failed, nothing was changed: {type(error).__name__}: {words}\n")
    return FAILED


def _unanswered(error: NoDatabase) -> int:
    sys.stderr.write(f"the ledger's database does not answer: {error}\n")
    return NO_DATABASE


def main(given: list[str]) -> int:
    """Read the command line and do what it says."""
    if given[:1] and given[0] in commands.COMMANDS:
        return commands.main(given)
    if given[:1] != ["migrate"]:
        parser = command.parser("ledger", "Keeps what every attempt cost, and answers what was spent.")
        return command.main(parser.parse_args(given), serve, credentials_of={DATABASE})
    parser = argparse.ArgumentParser(prog="python -m ledger migrate", description="Brings the tables up to date.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the YAML configuration")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--before", action="store_true", help="the steps that run before a deployment: as without it")
    how.add_argument("--after", action="store_true", help="also the steps that run after a deployment")
    how.add_argument("--to", metavar="REVISION", help="go back to this step instead; base lets go of all tables")
    parser.set_defaults(nats=None)
    return command.main(parser.parse_args(given[1:]), migrate, credentials_of={DATABASE})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Keys and users for a broker that the appliance does not run: compose, or a server of your own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from appliance import configuration
from appliance.errors import WrongUse
from appliance.keys import SECRET_BYTES, Keys, keys_of
from appliance.places import Places, write_private
from appliance.users import as_include, as_routes, callout_of, users_of

USERS = "users.conf"
ROUTES = "routes.conf"


def write(config: Path | None, folder: Path, nodes: Sequence[str] = (), ledger: Path | None = None) -> str:
    """Make ``users.conf``, ``service.password``, ``edge.json`` and ``keys.json`` in ``folder``; keys are kept.

    With ``nodes``, the ``host:port`` of each node of a cluster, also ``routes.conf``; with ``ledger``, a folder that
    only the ledger and its database read, ``database.password`` there.

    The configuration may name the very password that is being made: its projects are all that is read of it. Returns
    what to tell the person; the admin key is in it once, at the first time.

    Raises:
        WrongUse: there is no configuration, it is wrong, or the folder cannot be written.
    """
    if config is None:
        raise WrongUse("say with --config which configuration names the projects")
    projects = configuration.projects_of(config)
    configuration.check_names(projects)
    places = Places(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = keys_of(places.keys, projects)
        write_private(places.service_password, keys.service_password.get_secret_value() + "\n")
        write_private(places.edge, json.dumps(keys.for_the_edge(), indent=2) + "\n")
        write_private(folder / USERS, as_include(users_of(keys), callout_of(keys, projects)))
        if nodes:
            write_private(folder / ROUTES, as_routes(keys, nodes))
    except OSError as error:
        raise WrongUse(f"{folder} cannot be written ({error.strerror}): give --dir a place of your own") from error
    if ledger is not None:
        _write_for_the_ledger(ledger)
    return _told(keys, folder)


def _write_for_the_ledger(folder: Path) -> None:
    """A password for its database, kept if it is there. It follows from nothing: all services may read the pepper."""
    place = Places(folder).database_password
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.exists():
            write_private(place, secrets.token_hex(SECRET_BYTES) + "\n")
    except OSError as error:
        raise WrongUse(f"{folder} cannot be written ({error.strerror}): give --ledger a place of your own") from error


def show(folder: Path) -> str:
    """The projects' keys in ``folder``, one a line. Raises WrongUse if there are none."""
    places = Places(folder)
    if not places.keys.exists():
        raise WrongUse(f"there are no keys in {folder} yet: `python -m appliance keys --config FILE --dir {folder}`")
    keys = keys_of(places.keys, ())
    return "\n".join(f"{project:<20} {key.get_secret_value()}" for project, key in keys.projects.items())


def _told(keys: Keys, folder: Path) -> str:
    lines = [
        f"keys and users are in {folder}; `python -m appliance keys --show --dir {folder}` prints the projects' keys"
    ]
    if keys.admin is not None:
        lines.append(f"admin key, shown this once (only its hash is kept): {keys.admin.get_secret_value()}")
    return "\n".join(lines)

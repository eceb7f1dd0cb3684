"""The broker's users: the services, and one a project with its key as password, each with the least it can do with."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import SecretStr

from appliance.configuration import SERVICE_USER
from appliance.keys import Keys
from job_contracts import subjects
from runtime.broker import BrokerUser, access

NODE_USER = "node"
"""The nodes' own name to each other; the clients' users are no part of it."""


def project_user(project: str, key: SecretStr) -> BrokerUser:
    """A producer's login: its own submissions, cancels, bodies and questions; its own live events and answers."""
    return BrokerUser(
        name=project,
        password=key,
        publish=tuple(f"{subjects.PUBLIC}.{way}.{project}.>" for way in subjects.WAYS_IN),
        subscribe=(f"{subjects.PUBLIC}.live.{project}.>", f"{subjects.inbox_prefix(project)}.>"),
        account="projects",
    )


def users_of(keys: Keys, projects: Iterable[str]) -> tuple[BrokerUser, ...]:
    """The services' user, and one for each of ``projects``; a project that is no longer configured cannot log in."""
    service = BrokerUser(name=SERVICE_USER, password=keys.service_password)
    return (service, *(project_user(project, keys.projects[project]) for project in projects))


def as_routes(keys: Keys, nodes: Iterable[str]) -> str:
    """What the ``cluster`` section of every node includes: how they know each other, and the ``host:port`` of each.

    Whoever may connect as a node reads and writes everything, so it takes a password, which the addresses carry.
    """
    password = keys.nodes_password.get_secret_value()
    authorization = {"user": NODE_USER, "password": password, "timeout": 5}
    routes = [f"nats-route://{NODE_USER}:{password}@{node}" for node in nodes]
    return (
        "# Made by `python -m appliance keys`; holds a password.\n"
        f"authorization: {json.dumps(authorization)}\nroutes: {json.dumps(routes, indent=2)}\n"
    )


def as_include(users: Iterable[BrokerUser]) -> str:
    """The same as a file that a nats-server's configuration includes."""
    lines = [f"{name}: {json.dumps(value, indent=2)}" for name, value in access(tuple(users)).items()]
    return "\n".join(("# Made by `python -m appliance keys`; holds passwords.", *lines, ""))

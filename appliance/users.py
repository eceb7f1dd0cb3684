"""The broker's users: the services and, at its door, the edges, which know the keys of the projects."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import SecretStr

from appliance.configuration import SERVICE_USER
from appliance.keys import Keys
from gateway.nkeys import Issuer
from runtime.broker_accounts import BrokerCallout, BrokerUser, access, forbidden, project_permissions

NODE_USER = "node"
"""The nodes' own name to each other; the clients' users are no part of it."""


def project_user(project: str, key: SecretStr) -> BrokerUser:
    """A producer's login in the broker's own file, for a broker without edges at its door."""
    publish, subscribe = project_permissions(project)
    denied = forbidden(project)
    return BrokerUser(
        name=project, password=key, publish=publish, forbidden=denied, subscribe=subscribe, account="projects"
    )


def users_of(keys: Keys) -> tuple[BrokerUser, ...]:
    """The services' user: all that has a login in the broker's file, beside the edges."""
    return (BrokerUser(name=SERVICE_USER, password=keys.service_password),)


def callout_of(keys: Keys, projects: Iterable[str]) -> BrokerCallout:
    """How the broker asks the edges; a project that is no longer configured has no account and cannot connect."""
    issuer = Issuer(keys.callout_seed.get_secret_value()).public
    return BrokerCallout(issuer=issuer, password=keys.gate_password, projects=tuple(projects))


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


def as_include(users: Iterable[BrokerUser], callout: BrokerCallout) -> str:
    """The same as a file that a nats-server's configuration includes."""
    lines = [f"{name}: {json.dumps(value, indent=2)}" for name, value in access(tuple(users), callout).items()]
    return "\n".join(("# Made by `python -m appliance keys`; holds passwords.", *lines, ""))

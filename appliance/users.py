"""The broker's users: the services, and one a project with its key as password, each with the least it can do with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import SecretStr

from appliance.configuration import SERVICE_USER
from appliance.keys import Keys
from job_contracts import subjects
from runtime.broker import BrokerUser

WAYS_IN = ("submit", "cancel", "blob", "api")
"""What a producer may publish to, below ``penstock.v1.<way>.<its project>``."""


def project_user(project: str, key: SecretStr) -> BrokerUser:
    """A producer's login: its own submissions, cancels, bodies and questions; its own live events and answers."""
    return BrokerUser(
        name=project,
        password=key,
        publish=tuple(f"{subjects.PUBLIC}.{way}.{project}.>" for way in WAYS_IN),
        subscribe=(f"{subjects.PUBLIC}.live.{project}.>", f"{subjects.inbox_prefix(project)}.>"),
    )


def users_of(keys: Keys, projects: Iterable[str]) -> tuple[BrokerUser, ...]:
    """The services' user, and one for each of ``projects``; a project that is no longer configured cannot log in."""
    service = BrokerUser(name=SERVICE_USER, password=keys.service_password)
    return (service, *(project_user(project, keys.projects[project]) for project in projects))


def as_include(users: Iterable[BrokerUser]) -> str:
    """The same as a file that a nats-server's configuration includes."""
    rendered = json.dumps({"users": [_rendered(user) for user in users]}, indent=2)
    return f"# Made by `python -m appliance keys`; holds passwords.\nauthorization: {rendered}\n"


def _rendered(user: BrokerUser) -> dict[str, Any]:
    rendered: dict[str, Any] = {"user": user.name, "password": user.password.get_secret_value()}
    if user.publish is not None and user.subscribe is not None:
        allowed = {"publish": {"allow": list(user.publish)}, "subscribe": {"allow": list(user.subscribe)}}
        rendered["permissions"] = allowed
    return rendered

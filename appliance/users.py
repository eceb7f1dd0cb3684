"""The broker's users: the services, and one a project with its key as password, each with the least it can do with."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import SecretStr

from appliance.configuration import SERVICE_USER
from appliance.keys import Keys
from job_contracts import subjects
from runtime.broker import BrokerUser, access


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


def as_include(users: Iterable[BrokerUser]) -> str:
    """The same as a file that a nats-server's configuration includes."""
    lines = [f"{name}: {json.dumps(value, indent=2)}" for name, value in access(tuple(users)).items()]
    return "\n".join(("# Made by `python -m appliance keys`; holds passwords.", *lines, ""))

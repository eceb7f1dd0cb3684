"""Who may connect to the broker, and what they may name: the services, and each project in an account of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from job_contracts import subjects
from runtime.gate import PERMISSIONS, USER

SERVICES = "SERVICES"
"""The services' account, which has the streams."""
PROJECT = "PROJECT_"
"""What the accounts of projects begin with; each has its own."""
SYSTEM = "SYS"
"""The broker's own account, in which edges are asked who may connect; there is none without a callout."""
_CALLOUT_TIMEOUT = 5
"""Seconds after which a connection is refused that no edge has judged. Longer than clients wait, so they try again: to
them a key that nobody could judge is no wrong key."""


class BrokerUser(BaseModel):
    """A login and what it may name; ``None`` allows everything.

    ``account``: ``projects`` keeps a producer, whose name is its project, apart from the services and from every other
    project, in an account of its own. The broker sends the acknowledgement of a submission to whatever reply subject
    its sender names, whatever the sender may publish to; within one account it would land in the services' own streams,
    or in another producer's inbox.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    password: SecretStr
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None
    forbidden: tuple[str, ...] = ()
    """What it may not publish to, of what ``publish`` allows."""
    account: Literal["services", "projects"] = "services"


class BrokerCallout(BaseModel):
    """Who may connect is asked of the edges: clients that are none of ``BrokerConfig.users`` have no login here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    """Public key (``A…``) of the account that signs the answers."""
    user: str = USER
    """By which an edge connects to the system's account, where it is asked."""
    password: SecretStr
    projects: tuple[str, ...]
    """Each gets an account, into which the answers place its connections."""


def project_permissions(project: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a producer may publish to and subscribe to: its own submissions, cancels, bodies and questions; its own live
    events and answers.
    """
    publish = tuple(f"{subjects.PUBLIC}.{way}.{project}.>" for way in subjects.WAYS_IN)
    return publish, (f"{subjects.PUBLIC}.live.{project}.>", f"{subjects.inbox_prefix(project)}.>")


def forbidden(project: str) -> tuple[str, ...]:
    """What a producer may not publish to all the same: what the leader alone submits, and pays for otherwise."""
    return tuple(f"{subjects.PUBLIC}.submit.{project}.{stem}.>" for stem in subjects.FOLLOW_UP_STEMS)


def access(users: Sequence[BrokerUser], callout: BrokerCallout | None = None) -> dict[str, Any]:
    """Who may connect, as the server's configuration has it.

    With producers among the users, or a callout for them, the services have an account with the streams, and each
    project one of its own, which reaches the services only through its ways in, and hears of them only its ``live``.
    """
    services = [_user(user) for user in users if user.account == "services"]
    producers: dict[str, list[dict[str, Any]]] = {
        user.name: [_user(user)] for user in users if user.account == "projects"
    }
    if callout is not None:
        if producers:
            raise ValueError("with a callout, projects have no users of their own")
        producers = {project: [] for project in callout.projects}
    elif not producers:
        return {"authorization": {"users": services}} if services else {}
    ways = [f"{subjects.PUBLIC}.{way}.>" for way in subjects.WAYS_IN]
    exports = [*({"service": way} for way in ways), {"stream": f"{subjects.PUBLIC}.live.>"}]
    made: dict[str, Any] = {SERVICES: {"jetstream": "enabled", "users": services, "exports": exports}}
    made |= {f"{PROJECT}{name}": {"users": login, "imports": _imports(name)} for name, login in producers.items()}
    return {"accounts": made} if callout is None else _guarded(made, callout, [user["user"] for user in services])


def _guarded(accounts: dict[str, Any], callout: BrokerCallout, services: Sequence[str]) -> dict[str, Any]:
    """The accounts, and the edges at the door: whoever is not named here is asked about."""
    gate = {"user": callout.user, "password": callout.password.get_secret_value(), "permissions": PERMISSIONS}
    asked = {"issuer": callout.issuer, "account": SYSTEM, "auth_users": [*services, callout.user]}
    return {
        "accounts": {**accounts, SYSTEM: {"users": [gate]}},
        "system_account": SYSTEM,
        "authorization": {"timeout": _CALLOUT_TIMEOUT, "auth_callout": asked},
    }


def _imports(project: str) -> list[dict[str, Any]]:
    ways = [f"{subjects.PUBLIC}.{way}.{project}.>" for way in subjects.WAYS_IN]
    live = f"{subjects.PUBLIC}.live.{project}.>"
    return [
        *({"service": {"account": SERVICES, "subject": way}} for way in ways),
        {"stream": {"account": SERVICES, "subject": live}},
    ]


def _user(user: BrokerUser) -> dict[str, Any]:
    rendered: dict[str, Any] = {"user": user.name, "password": user.password.get_secret_value()}
    permissions: dict[str, Any] = {}
    if user.publish is not None:
        permissions["publish"] = {"allow": list(user.publish)}
    if user.forbidden:
        permissions.setdefault("publish", {})["deny"] = list(user.forbidden)
    if user.subscribe is not None:
        permissions["subscribe"] = {"allow": list(user.subscribe)}
    if permissions:
        rendered["permissions"] = permissions
    return rendered

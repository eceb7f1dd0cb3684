"""Decides who may connect to the broker: the same keys as over HTTP, placed in the account of their project.

What bounds a key more than its project (routes, lanes, a rate, ceilings) cannot be checked on the broker's way in, so
such a key is not let in there. Without an edge that answers nobody is: the broker refuses after its own timeout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.bodies.failures import Failed
from gateway.nkeys import Issuer, NkeyError, claims_of
from runtime.broker_accounts import PROJECT, forbidden, project_permissions
from runtime.bus.port import Unreachable
from runtime.service import Duty
from runtime.telemetry import DEBUG, ERROR, WARNING

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.caller import Caller, Keyring
    from runtime.bus.door import Door
    from runtime.clock import Clock
    from runtime.telemetry import Telemetry

REFUSED = "this key does not open this door"
"""What the broker is told; it writes it to its log and tells the client nothing."""


class Callout(Duty):
    """Answers the broker at its door. ``projects``: those that have an account there."""

    def __init__(
        self,
        door: Door,
        keys: Keyring,
        issuer: Issuer,
        *,
        projects: Collection[str],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        super().__init__("callout", telemetry)
        self._door = door
        self._keys = keys
        self._issuer = issuer
        self._projects = frozenset(projects)
        self._clock = clock

    async def opened(self) -> None:
        """Stand at the door. Raises Unreachable."""
        try:
            await self._door.open(self.judge)
        except Unreachable as error:
            self.telemetry.emit("callout.not_let_in", ERROR, error=str(error))
            raise

    async def closed(self) -> None:
        """Leave it to the other edges."""
        await self._door.close()

    def judge(self, question: bytes) -> bytes:
        """The signed answer to the broker's question. Raises NkeyError for one that is none."""
        asked = claims_of(question.decode("ascii", "replace"))
        try:
            told = asked["nats"]
            server, user = str(told["server_id"]["id"]), str(told["user_nkey"])
            given = dict(told.get("connect_opts") or {})
        except (KeyError, TypeError, ValueError) as error:
            raise NkeyError("this is no question about a connection") from error
        now = self._clock.wall()
        caller = self._let_in(given, now)
        said: dict[str, Any] = {"type": "authorization_response", "version": 2}
        if caller is None:
            said["error"] = REFUSED
        else:
            said["jwt"] = self._issuer.jwt(_user(caller, user, now))
        return self._issuer.jwt({"sub": user, "aud": server, "iat": int(now), "nats": said}).encode()

    def _let_in(self, given: dict[str, Any], now: float) -> Caller | None:
        """Who this is, if the key opens the door: as password of a user who is its project, or as a token."""
        presented = str(given.get("pass") or given.get("auth_token") or "")
        try:
            caller = self._keys.caller(presented, now)
        except Failed as failed:
            self.telemetry.emit("callout.refused", DEBUG, reason=failed.error.code)
            return None
        why = self._why_not(caller, str(given.get("user") or ""))
        if why is None:
            self.telemetry.emit("callout.let_in", DEBUG, key=caller.key, project=caller.project)
            return caller
        self.telemetry.emit("callout.refused", WARNING, key=caller.key, project=caller.project, reason=why)
        return None

    def _why_not(self, caller: Caller, user: str) -> str | None:
        if caller.admin:
            return "the admin key speaks for no project"
        if user not in {"", caller.project}:
            return "the user is not the key's project"
        if caller.project not in self._projects:
            return "the project is not in the configuration"
        bounds = caller.scope.model_dump(exclude_none=True, exclude={"expires"})
        if bounds:
            return f"it has bounds that hold over HTTP alone: {', '.join(bounds)}"
        return None


def _user(caller: Caller, nkey: str, now: float) -> dict[str, Any]:
    """Claims of the connection's user: its name is the key's id, so that it can be found when the key has ended."""
    publish, subscribe = project_permissions(caller.project)
    claims: dict[str, Any] = {
        "sub": nkey,
        "aud": f"{PROJECT}{caller.project}",
        "name": caller.key,
        "iat": int(now),
        "nats": {
            "pub": {"allow": list(publish), "deny": list(forbidden(caller.project))},
            "sub": {"allow": list(subscribe)},
            "subs": -1,
            "data": -1,
            "payload": -1,
            "type": "user",
            "version": 2,
        },
    }
    if caller.scope.expires is not None:
        claims["exp"] = int(caller.scope.expires)
    return claims

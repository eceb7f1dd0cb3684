"""``/v1/keys``: the admin makes, lists, rotates and revokes keys; a key asks about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.app import Endpoint, answer
from gateway.bodies import keys
from gateway.bodies.failures import invalid
from gateway.bodies.openapi import JSON, About, Parameter, Told

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.call import Call

MOST = 1_000
"""Keys in one answer."""


async def create(call: Call) -> ASGIApp:
    """Make a key; the answer is the only place where it can be read."""
    config, now = call.edge.config, call.edge.clock.wall()
    asked = keys.new_key(await call.json(), projects=config.projects, routes=config.routes)
    key, record = await call.edge.key_desk.create(asked.project, asked.name, keys.scope_of(asked, now))
    return answer({**keys.told(record, now), "key": key}, 201, _SECRET)


async def list_(call: Call) -> ASGIApp:
    """The keys by the moment they were made: ``project=``, ``limit=``, ``after=`` (an id)."""
    asked, now = call.request.query_params, call.edge.clock.wall()
    limit = asked.get("limit", "100")
    if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:9]) <= MOST:
        raise invalid(f"limit: {limit!r} is no number of keys", param="limit", remedy=f"write 1 to {MOST}")
    found = [one for one in call.edge.key_desk.all() if asked.get("project") in (None, one.project)]
    if "after" in asked:
        ids = [one.id for one in found]
        if asked["after"] not in ids:
            raise invalid(f"after: there is no key {asked['after']!r}", param="after", remedy="use an id of this list")
        found = found[ids.index(asked["after"]) + 1 :]
    page = [keys.told(one, now) for one in found[: int(limit)]]
    return answer({"object": "list", "data": page, "has_more": len(found) > len(page)})


async def show(call: Call) -> ASGIApp:
    """One key."""
    return answer(keys.told(call.edge.key_desk.find(_id(call)), call.edge.clock.wall()))


async def own(call: Call) -> ASGIApp:
    """The key that asks."""
    return answer(keys.told(call.edge.key_desk.find(call.caller.key), call.edge.clock.wall()))


async def rotate(call: Call) -> ASGIApp:
    """Make a key in place of another, which goes on for ``overlap``."""
    overlap = keys.overlap_of(await _optional(call), call.edge.settings.key_overlap)
    key, new, old = await call.edge.key_desk.rotate(_id(call), overlap)
    now = call.edge.clock.wall()
    return answer({**keys.told(new, now), "key": key, "old": keys.told(old, now)}, 201, _SECRET)


async def revoke(call: Call) -> ASGIApp:
    """End a key for good."""
    record = await call.edge.key_desk.revoke(_id(call))
    return answer(keys.told(record, call.edge.clock.wall()))


async def _optional(call: Call) -> dict[str, Any]:
    headers = call.request.headers
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return await call.json() if has_body else {}


def _id(call: Call) -> str:
    return str(call.request.path_params["id"])


_SECRET = {"cache-control": "no-store"}

_ID = Parameter("id", "path", "The key's id, which is no secret.", required=True)
_KEY = Told("The key, without itself.", {JSON: keys.KEY})
_CREATE = About(
    "Make a key",
    "keys",
    {201: Told("The key; it can be read nowhere else.", {JSON: keys.MADE})},
    body=keys.NewKey,
    errors=(404, 409),
)
_LIST = About(
    "The keys",
    "keys",
    {200: Told("By the moment they were made.", {JSON: keys.KEYS})},
    parameters=(
        Parameter("project", "query", "Those of this project alone."),
        Parameter("limit", "query", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST}),
        Parameter("after", "query", "Those behind this id."),
    ),
    errors=(400,),
)
_ROTATE = About(
    "Make a key in place of another",
    "keys",
    {201: Told("The new key; it can be read nowhere else.", {JSON: keys.ROTATED})},
    body=keys.Rotation,
    body_needed=False,
    parameters=(_ID,),
    errors=(409,),
    description="The old one goes on for overlap.",
)
_REVOKE = About("End a key for good", "keys", {200: _KEY}, parameters=(_ID,), errors=(409,))
_SHOW = About("A key", "keys", {200: _KEY}, parameters=(_ID,))
ENDPOINTS = (
    Endpoint("/v1/keys", ("POST",), create, who="admin", about=_CREATE),
    Endpoint("/v1/keys", ("GET",), list_, who="admin", about=_LIST),
    Endpoint("/v1/keys/self", ("GET",), own, about=About("The key that asks", "keys", {200: _KEY}, errors=(404,))),
    Endpoint("/v1/keys/{id}", ("GET",), show, who="admin", about=_SHOW),
    Endpoint("/v1/keys/{id}/rotate", ("POST",), rotate, who="admin", about=_ROTATE),
    Endpoint("/v1/keys/{id}/revoke", ("POST",), revoke, who="admin", about=_REVOKE),
    Endpoint("/v1/keys/{id}", ("DELETE",), revoke, who="admin", about=_REVOKE),
)

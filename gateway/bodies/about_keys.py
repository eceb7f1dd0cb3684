"""What the routes of ``/v1/keys`` say of themselves."""

from __future__ import annotations

from gateway.bodies.about_openai import fixed, limit, listed
from gateway.bodies.keys import NewKey
from gateway.bodies.openapi import JSON, About, Parameter, Told

_KEY = fixed(
    {
        "id": {"type": "string"},
        "object": {"const": "key"},
        "project": {"type": "string"},
        "name": {"type": "string"},
        "state": {"type": "string"},
        "scope": {"type": "object"},
        "source": {"enum": ["configuration", "api"]},
    }
)
_MADE = fixed({"id": {"type": "string"}, "key": {"type": "string", "description": "Readable here and never again."}})
_TOLD = Told("The key, without its secret.", {JSON: _KEY})
CREATE = About("Make a key", "keys", {201: Told("The key itself.", {JSON: _MADE})}, body=NewKey, errors=(404, 409))
LIST = About(
    "The keys",
    "keys",
    {200: Told("A page of them.", {JSON: listed(_KEY)})},
    parameters=(
        limit(1_000),
        Parameter("after", "query", "The last id of the page before."),
        Parameter("project", "query", "Those of this project alone."),
    ),
    errors=(400,),
)
SHOW = About("One key", "keys", {200: _TOLD})
SELF = About("The key that asks", "keys", {200: _TOLD}, errors=(404,))
ROTATE = About(
    "A key in place of another",
    "keys",
    {201: Told("The new key itself.", {JSON: _MADE})},
    errors=(408, 409, 413, 415),
    description='The body may be empty; {"overlap": "24h"} says how long the old key goes on.',
)
REVOKE = About("End a key for good", "keys", {200: _TOLD}, errors=(409,))

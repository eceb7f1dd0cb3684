"""The OpenAPI 3.1 document of the edge, made of what each endpoint says of itself (``About``).

Schemas are JSON Schema, or pydantic models of answers that are made with these very models. A request's schema is never
stricter than what is taken, so whatever breaks it is refused: a test sends both kinds to every route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.bodies.extras import HEADERS, KEY, PREFIX
from gateway.bodies.failures import Shape

Schema = Mapping[str, Any] | type[BaseModel] | Callable[[], Mapping[str, Any]]
"""JSON Schema, a model whose schema it is, or what makes one when the document is asked for."""
JSON = "application/json"
EVENTS = "text/event-stream"
TEXT: Schema = {"type": "string"}
EVENT: Schema = {
    "type": "object",
    "description": "One server-sent event; its data is JSON, or a mark such as [DONE].",
    "required": ["data"],
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}
"""Of each event of a stream (``EVENTS``)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter beside the body."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: its content by media type (nothing: no body)."""

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class About:
    """What one endpoint says of itself. Errors that any route may answer with are added to it."""

    summary: str
    tag: str
    answers: Mapping[int, Told]
    body: Schema | None = None
    media: str = JSON
    """Type of the body."""
    body_needed: bool = True
    headers: tuple[str, ...] = ()
    """Those of our headers that it takes, without their prefix, if it does not submit and so takes all."""
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    submits: bool = False
    """Whether it makes jobs: then it takes our headers, and may fail as jobs do."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """One route as the document needs it."""

    path: str
    methods: tuple[str, ...]
    about: About
    shape: Shape | None = "openai"
    """Of its errors; ``None``: OpenAI's or Anthropic's."""
    who: Literal["anybody", "project", "admin", "either"] = "project"
    """Whose key it needs."""


ANY_ROUTE = (401, 403, 429, 500, 503)
"""No key; a key that may not; too fast; our fault; draining, or the queue is not reached."""
WITH_BODY = (400, 408, 413, 415)
OF_JOBS = (400, 402, 404, 409, 410, 502, 504)
_HEADERS = {
    "x-request-id": "The request's id, also in the logs.",
    "x-penstock-job": "Ids of the request's jobs, with commas between.",
    "x-penstock-cost": "US dollars its jobs have cost, all attempts together; not there where a price is not known.",
    "x-penstock-estimated-cost": "US dollars a job is likely to cost, where its price is known.",
    "retry-after": "Whole seconds after which it is worth another try.",
}


def document(routes: Iterable[Described], version: str) -> dict[str, Any]:
    """The whole document, as JSON values."""
    schemas = _Schemas()
    paths: dict[str, Any] = {}
    for route in routes:
        at = paths.setdefault(_plain(route.path), {})
        for method in route.methods:
            at[method.lower()] = _operation(method, route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": version,
            "description": "A message-queue-driven gateway to language models. Every request becomes a durable job; "
            "the OpenAI and Anthropic APIs are spoken as they are, /v1/jobs shows the jobs themselves.",
        },
        "security": [{"bearer": []}, {"api_key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "parameters": {name: _written(one) for name, one in _penstock_headers().items()},
            "headers": {name: {"description": told, "schema": {"type": "string"}} for name, told in _HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key: psk_…"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _plain(path: str) -> str:
    """A path without Starlette's converters."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def _operation(method: str, route: Described, schemas: _Schemas) -> dict[str, Any]:
    about = route.about
    parameters = [_written(one) for one in (*_in_path(route), *about.parameters)]
    parameters += [{"$ref": f"#/components/parameters/{PREFIX}{name}"} for name in about.headers]
    if about.submits:
        own = {one.name for one in about.parameters}
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in _penstock_headers() if name not in own]
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", _plain(route.path))]),
        "summary": about.summary,
        "tags": [about.tag],
        "responses": _responses(route, schemas),
    }
    words = [about.description, *(["Needs the admin key."] if route.who == "admin" else [])]
    if any(words):
        operation["description"] = " ".join(word for word in words if word)
    if parameters:
        operation["parameters"] = parameters
    if about.body is not None:
        operation["requestBody"] = {
            "required": about.body_needed,
            "content": {about.media: {"schema": schemas.ref(about.body)}},
        }
    if route.who == "anybody":
        operation["security"] = []
    return operation


def _in_path(route: Described) -> list[Parameter]:
    """The path's own parameters that the endpoint does not describe further."""
    told = {one.name for one in route.about.parameters if one.where == "path"}
    names = re.findall(r"\{(\w+)\}", _plain(route.path))
    return [Parameter(name, "path", f"The {name}.", required=True) for name in names if name not in told]


def _responses(route: Described, schemas: _Schemas) -> dict[str, Any]:
    about = route.about
    responses = {
        str(status): {
            "description": told.description,
            "headers": _headers("x-request-id", *(_OF_JOBS if about.submits else ())),
            **(
                {"content": {media: {"schema": schemas.ref(schema)} for media, schema in told.content.items()}}
                if told.content
                else {}
            ),
        }
        for status, told in sorted(about.answers.items())
    }
    error = {"anyOf": [_ref(name) for name in _ERRORS]} if route.shape is None else _ref(_SHAPES[route.shape])
    for status in sorted(_errors(route)):
        responses.setdefault(
            str(status),
            {
                "description": _WHY.get(status, "Refused."),
                "headers": _headers("x-request-id", *(["retry-after"] if status in {429, 503} else [])),
                "content": {JSON: {"schema": error}},
            },
        )
    return responses


def _errors(route: Described) -> set[int]:
    about = route.about
    if route.who == "anybody":
        return {*about.errors}
    return {
        *ANY_ROUTE,
        *about.errors,
        *(WITH_BODY if about.body is not None else ()),
        *(OF_JOBS if about.submits else ()),
        *((400, 404) if "{" in route.path else ()),
    }


_OF_JOBS = ("x-penstock-job", "x-penstock-cost", "x-penstock-estimated-cost")


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _written(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "description": one.description,
        "required": one.required,
        "schema": dict(one.schema),
    }


def _penstock_headers() -> dict[str, Parameter]:
    ours = {f"{PREFIX}{name}": Parameter(f"{PREFIX}{name}", "header", *told) for name, told in HEADERS.items()}
    same = Parameter("idempotency-key", "header", "The same as x-penstock-idempotency-key.", KEY)
    return {**ours, same.name: same, LAST_EVENT_ID.name: LAST_EVENT_ID}


LAST_EVENT_ID = Parameter(
    "last-event-id",
    "header",
    "The id of the last event that was read of a stream which broke off: the rest follows. A request that is sent "
    "again needs its Idempotency-Key for that.",
    {"type": "string", "pattern": r"^[0-9]+:[0-9]+r?(:[0-9]+(\.[0-9]+)?)?(,[0-9]+:[0-9]+r?(:[0-9]+(\.[0-9]+)?)?)*$|^$"},
)

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What is wrong, and what to do about it."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field or header it is about."},
                "code": {"type": ["string", "null"], "description": "A word for it that stays."},
            },
        }
    },
}
ANTHROPIC_ERROR: Schema = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": ["string", "null"]},
    },
}


_ERRORS = {"Error": ERROR, "AnthropicError": ANTHROPIC_ERROR}
_SHAPES: Mapping[Shape, str] = {"openai": "Error", "native": "Error", "anthropic": "AnthropicError"}
_WHY = {
    400: "Something in the request is wrong; the message says what, and what to do about it.",
    401: "There is no key, or none that is known.",
    402: "The budget is used up.",
    403: "This key may not.",
    404: "There is no such thing, or not for this key.",
    408: "The body did not arrive in time.",
    409: "It is not as it would have to be: another request has this idempotency key, or the job has another state.",
    410: "The stream cannot be resumed any more.",
    413: "The body is too large.",
    415: "The body is of a type that is not read.",
    416: "The range begins behind the end.",
    429: "Too fast, or the queue is full.",
    500: "A fault of the gateway.",
    502: "The providers failed.",
    503: "The gateway is about to end or overloaded, the queue is not reached, or every provider is.",
    504: "Not in time.",
    507: "The store has no more room.",
}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


class _Schemas:
    """Collects the models that are referred to, and writes them all at once."""

    def __init__(self) -> None:
        self._models: dict[type[BaseModel], None] = {}

    def ref(self, schema: Schema) -> Mapping[str, Any]:
        """The schema itself, or a reference to a model's."""
        if isinstance(schema, Mapping):
            return schema
        if not isinstance(schema, type):
            return schema()
        self._models[schema] = None
        return _ref(schema.__name__)

    def all(self) -> dict[str, Any]:
        """Every schema by name."""
        asked: list[tuple[type[BaseModel], Literal["serialization"]]] = [(one, "serialization") for one in self._models]
        _, made = models_json_schema(asked, ref_template="#/components/schemas/{model}")
        return {**_ERRORS, **made.get("$defs", {})}

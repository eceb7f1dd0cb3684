"""``GET /v1/models`` and ``GET /v1/models/{id}``: the routes a key may use, in the words of whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.app import Endpoint, answer
from gateway.bodies import openai_models
from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.openapi import JSON, About, Parameter, Told

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.call import Call


def usable(call: Call) -> list[str]:
    """Names of the routes that the request's key may use, in the order of the configuration."""
    config, scope = call.edge.config, call.caller.scope
    project = config.projects.get(call.caller.project)
    allowed = [one for one in (project.routes if project else None, scope.routes) if one is not None]
    return [name for name in config.routes if all(name in one for one in allowed)]


def known(call: Call, name: str) -> str:
    """The name itself. Raises ``Failed`` with 404 if the key may use no route of that name."""
    if name in usable(call):
        return name
    remedy = "GET /v1/models lists the models of this key"
    raise Failed(ApiError(404, "model_not_found", f"there is no model {name!r}", param="model", remedy=remedy))


async def models(call: Call) -> ASGIApp:
    """All of them."""
    return answer(openai_models.ALL[call.shape](usable(call), call.request.query_params))


async def model(call: Call) -> ASGIApp:
    """One of them; its name may have slashes."""
    name = known(call, call.request.path_params["name"])
    return answer(openai_models.ONE[call.shape](name))


_SPOKEN = Parameter("anthropic-version", "header", "Whoever sends it is answered in the words of Anthropic's API.")
_PAGES = tuple(Parameter(name, "query", *told) for name, told in openai_models.PAGES.items())
_LIST = About(
    "The models of this key",
    "models",
    {200: Told("The routes it may use.", {JSON: openai_models.MODELS})},
    parameters=(_SPOKEN, *_PAGES),
    errors=(400,),
)
_ONE = About(
    "A model",
    "models",
    {200: Told("There is such a route.", {JSON: openai_models.MODEL})},
    parameters=(Parameter("name", "path", "The route's name, which may have slashes.", required=True), _SPOKEN),
)
ENDPOINTS = (
    Endpoint("/v1/models", ("GET",), models, shape=None, about=_LIST),
    Endpoint("/v1/models/{name:path}", ("GET",), model, shape=None, about=_ONE),
)

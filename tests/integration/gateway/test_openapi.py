"""The document and the edge agree: what the document allows and forbids is sent to every route of a real edge.

``PENSTOCK_OPENAPI_EXAMPLES`` says how many requests of each kind a route gets, each time others if it is set.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from catalogue.load import providers
from gateway.assembly import ENDPOINTS
from gateway.bodies.kinds import KINDS, setting_schemas
from gateway.bodies.openapi import JSON, About, Described, Told, document
from gateway.describing import described
from job_contracts.chat import Settings
from simulator import Settings as Simulated
from simulator import Simulator
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.gateway import gateway
from tests.support.ledger_desk import ledger_desk
from tests.support.stand_in import PROJECT

ASKED = os.environ.get("PENSTOCK_OPENAPI_EXAMPLES")  # noqa: TID251
EXAMPLES = int(ASKED or 6)
CHECKS = [content_type_conformance, negative_data_rejection, response_schema_conformance, status_code_conformance]
QUICK: dict[str, Any] = {
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 2},
    "dimensions": {"type": ["integer", "null"], "minimum": 1, "maximum": 8},
    "x-penstock-not-before": {"enum": ["0", "10ms"]},
    "x-penstock-deadline": {"enum": ["5s", "1m", "2100-01-01T00:00:00Z"]},
    "wait": {"type": "number", "minimum": 0, "maximum": 0.1},
}
"""What takes the place of schemas that allow what takes long."""
BEYOND = (
    r"stream_options: they go with stream",
    r"tools: every tool needs a name of its own",
    r"tool_choice: there (is no tool|are no tools)|tool_choice: .required. needs|tool_choice.name: there is no tool",
    r"(max_tokens|cache|the tool's own) says something else",
    r"(deadline|expires|not_before): ",  # one that has passed, or is before not_before
    r"last-event-id: ",  # of another stream
    r"starting_after: it goes with stream=true",
    r"background: it goes with store",
    r"previous_response_id: ",
    r"input: there is nothing in it",
    r"(after|after_id|before_id): ",  # not in this list
    r"routes?: there is no route",
    r"overlap: .* is no time up to ten years",
    r"\[openai/",  # what the model does not take: a picture that is none
    r"a number that is too large",  # for others to read again
    r"max_cost: ",  # none at all
    r"(since|until|by|tag|reason|against): |holds a character 0",  # no day of the calendar, or one without the other
)
"""What is wrong with requests that the document allows: one field about another, or about what there is."""


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with Simulator(Simulated(longest_hold=2.0)) as simulator:
        values = {
            "providers": {"openai": {"key": "sk-one", "base_url": f"{simulator.base_url('openai')}/v1", "slots": 8}},
            "routes": {
                "chat": {"deployments": ["openai/gpt-4o-mini"]},
                "some/vectors": {"deployments": ["openai/text-embedding-3-small"]},
            },
        }
        async with (
            gateway(tmp_path, values, providers()) as whole,
            edge(whole, timeout=5.0, max_body=1_000_000) as one,
            ledger_desk(one.bus, one.config, tmp_path),
        ):
            yield one


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
async def test_every_route_keeps_to_the_document_whatever_is_sent(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        told, there = (await one.client.get("/openapi.json")).json(), await things(one)
        sender, wrong = Sender(one.url, one.key, told), list[str]()
        for mode in GenerationMode:
            quick = QUICK if mode is GenerationMode.POSITIVE else {}
            for found in schemathesis.openapi.from_dict(narrowed(told, there, quick)).get_all_operations():
                assert isinstance(found, Ok)
                try:
                    await asyncio.to_thread(exercised, found.ok(), mode, sender)
                except (FailureGroup, AssertionError) as error:
                    words = "".join(traceback.format_exception_only(error))
                    wrong.append(f"{found.ok().label} {mode.value}: {words}"[:2_000])
        assert not wrong, "\n\n".join(wrong)
        assert not [event for event in one.events if event.name == "edge.failed"]
        never = {label for label, answered in sender.answered.items() if not any(200 <= one < 300 for one in answered)}
        assert never <= {"POST /v1/batches/{id}/cancel"}, sender.answered  # the one there is has ended by then


async def things(one: RunningEdge) -> dict[str, list[str]]:
    """Makes one of everything; its ids by the beginning of the paths that are about it."""
    made = (await one.client.post("/v1/jobs", json={"model": "chat", "messages": "Hello"})).json()["id"]
    assert (await one.client.get(f"/v1/jobs/{made}/result?wait=5")).status_code == 200
    asked = {"model": "chat", "input": "Hello", "background": True}
    responses = [(await one.client.post("/v1/responses", json=asked)).json()["id"] for _ in range(2)]
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    files = [await uploaded(one, json.dumps(line)) for _ in range(2)]
    wish = {"input_file_id": files[0], "endpoint": line["url"], "completion_window": "1h"}
    batch = (await one.client.post("/v1/batches", json=wish)).json()["id"]
    admin = {"authorization": f"Bearer {ADMIN}"}
    keys = [
        (await one.client.post("/v1/keys", json={"project": PROJECT}, headers=admin)).json()["id"] for _ in range(2)
    ]
    return {
        "/v1/jobs": [made],
        "/v1/chat/completions": [f"chatcmpl-{made}"],
        "DELETE /v1/responses": responses[1:],
        "/v1/responses": responses[:1],
        "DELETE /v1/files": files[1:],
        "/v1/files": files[:1],
        "/v1/batches": [batch],
        "DELETE /v1/keys": keys[1:],
        "/v1/keys": keys[:1],
        "/v1/models": ["chat", "some/vectors"],
        "input_file_id": files[:1],
        "job": [made],
        "project": [PROJECT],
        "routes": ["chat"],
    }


async def uploaded(one: RunningEdge, text: str) -> str:
    sent = await one.client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("lines", text)})
    return str(sent.json()["id"])


def narrowed(told: Any, there: Mapping[str, list[str]], quick: Mapping[str, Any]) -> Any:
    """The document with schemas that allow what is ``there`` alone, and those of ``quick`` in the place of its own."""
    told = deepcopy(told)
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            for one in operation.get("parameters", ()):
                if one.get("in") == "path":
                    found = [
                        ids
                        for about, ids in there.items()
                        if f"{method.upper()} {path}".find(about) in {0, len(method) + 1}
                    ]
                    one["schema"] = {"enum": found[0]}
            _narrow([operation.get("parameters"), operation.get("requestBody")], there, quick)
    bodies = [told["components"]["schemas"][name] for name in ("NewKey", "Feedback")]
    _narrow([told["components"]["parameters"], *bodies], there, quick)
    return told


def _narrow(told: Any, there: Mapping[str, list[str]], quick: Mapping[str, Any]) -> None:
    if isinstance(told, list):
        for one in told:
            _narrow(one, there, quick)
    if not isinstance(told, dict):
        return
    if isinstance(told.get("in"), str) and told["name"] in quick:
        told["schema"] = quick[told["name"]]
    known = told.get("properties", {})
    for name in known:
        if name in there:
            one = {"enum": there[name]}
            known[name] = {"type": "array", "items": one, "minItems": 1} if name == "routes" else one
        elif name in quick:
            known[name] = quick[name]
        elif name == "model" and "description" in known[name]:
            known[name] = {"const": "some/vectors" if known.keys() & {"inputs", "encoding_format"} else "chat"}
    for one in told.values():
        _narrow(one, there, quick)


@dataclass
class Sender:
    """Sends cases to an edge, and looks at what is answered."""

    url: str
    key: str
    told: Any
    """The document."""
    answered: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Statuses by operation."""

    def send(self, case: Case[Any], *, valid: bool) -> None:
        admin = "admin key" in case.operation.definition.raw.get("description", "")
        headers = {"authorization": f"Bearer {ADMIN if admin else self.key}"}
        if not valid and case.path.startswith("/v1/models"):
            headers["anthropic-version"] = "2023-06-01"  # the other API has no parameters here
        if not valid and any(isinstance(value, list) for value in case.query.values()):
            return  # given several times: the last one counts, as of names in JSON
        if not valid and self._is_valid(_without_nothing(case.body), case):
            return
        response = case.call(base_url=self.url, headers=headers, timeout=20)
        self.answered[f"{case.method} {case.path}"][response.status_code] += 1
        if not valid and response.status_code == 414:
            return  # several parameters, each too long: it is refused before any of them is read
        assert response.status_code < 500 or response.status_code in {502, 504}, response.text
        case.validate_response(response, checks=CHECKS)
        if valid and response.status_code in {400, 413, 415, 422}:
            message = response.json()["error"]["message"]
            assert any(re.search(one, message) for one in BEYOND), f"{message}\n{case.as_curl_command()}"

    def _is_valid(self, body: Any, case: Case[Any]) -> bool:
        """Whether it is something else than the body that breaks the document, if anything does."""
        said = self.told["paths"][case.path][case.method.lower()].get("requestBody", {}).get("content", {}).get(JSON)
        if said is None or not isinstance(body, dict):
            return False
        return jsonschema_rs.is_valid({**said["schema"], "components": self.told["components"]}, body)


def _without_nothing(value: Any) -> Any:
    """The same without fields that are null or an empty list: both count as left out, where that may be."""
    if isinstance(value, list):
        return [_without_nothing(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_nothing(one) for name, one in value.items() if one is not None and one != []}
    return value


def exercised(operation: Any, mode: GenerationMode, sender: Sender) -> None:
    """Send cases of one mode to one operation."""
    valid = mode is GenerationMode.POSITIVE

    @settings(
        max_examples=EXAMPLES if operation.body else -(-EXAMPLES // 2),
        deadline=None,
        derandomize=ASKED is None,
        phases=[Phase.generate],  # each request takes its time, and what is wrong is told by the first that shows it
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def sent(case: Case[Any]) -> None:
        sender.send(case, valid=valid)

    with suppress(Unsatisfiable) if not valid else nullcontext():  # nothing about it can be wrong
        sent()


def test_every_endpoint_says_what_it_is() -> None:
    told = described(ENDPOINTS)
    paths = {(one.path.replace(":path", ""), method) for one in ENDPOINTS for method in one.methods}
    assert paths <= {(path, method.upper()) for path, methods in told["paths"].items() for method in methods}


def test_an_endpoint_without_a_word_is_named() -> None:
    silent = replace(ENDPOINTS[0], about=None)
    with pytest.raises(LookupError, match=ENDPOINTS[0].path):
        described([silent])


def test_the_document_is_valid_and_no_operation_has_the_name_of_another() -> None:
    told = described(ENDPOINTS)
    jsonschema_rs.validator_for(told["components"]["schemas"]["Error"])
    names = [method["operationId"] for methods in told["paths"].values() for method in methods.values()]
    assert len(set(names)) == len(names)
    assert told["openapi"] == "3.1.0"


def test_settings_are_of_the_kind_that_the_contract_says() -> None:
    words = {"number": float, "integer": int, "boolean": bool}
    known = Settings.model_json_schema()["properties"]
    kinds = {
        name: words[kind["type"]]
        for name, schema in known.items()
        for kind in schema.get("anyOf", [])
        if kind.get("type") in words
    }
    assert {**kinds, "max_completion_tokens": int} == KINDS
    assert setting_schemas(["temperature"])["temperature"]["anyOf"][0]["maximum"] == 2


def test_a_path_with_a_converter_stands_there_by_its_parameter() -> None:
    route = Described("/v1/files/{id:path}", ("GET", "DELETE"), About("A file", "files", {204: Told("Gone.")}))
    told = document([route], "1")["paths"]["/v1/files/{id}"]
    assert [told[method]["operationId"] for method in ("get", "delete")] == ["get_v1_files_id", "delete_v1_files_id"]
    assert told["get"]["parameters"][0]["name"] == "id"

"""The document and the edge agree: what the document allows and forbids is sent to every route of a real edge.

``PENSTOCK_OPENAPI_EXAMPLES`` says how many requests of each kind a route gets, each time others if it is set.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
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
from gateway.bodies.openapi import About, Described, Told, document
from gateway.describing import described
from job_contracts.chat import Settings
from simulator import Settings as Simulated
from simulator import Simulator
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.gateway import gateway

ASKED = os.environ.get("PENSTOCK_OPENAPI_EXAMPLES")  # noqa: TID251
EXAMPLES = int(ASKED or 10)
OPEN = frozenset(
    {"tools", "tool_choice", "response_format", "stream_options", "logprobs", "top_logprobs", "reasoning_effort"}
    | {"max_tokens", "max_completion_tokens", "inputs", "dimensions", "purpose", "lane", "deadline", "not_before"}
    | {"max_cost", "idempotency_key"}
)
"""Fields of which most that their schema allows has no meaning, or takes long."""
CHECKS = [content_type_conformance, negative_data_rejection, response_schema_conformance, status_code_conformance]


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with Simulator(Simulated(longest_hold=2.0)) as simulator:
        values = {
            "providers": {"openai": {"key": "sk-one", "base_url": f"{simulator.base_url('openai')}/v1", "slots": 8}},
            "routes": {
                "chat": {"deployments": ["openai/gpt-4o-mini"]},
                "vectors": {"deployments": ["openai/text-embedding-3-small"]},
            },
        }
        async with gateway(tmp_path, values, providers()) as whole, edge(whole, timeout=5.0, max_body=1_000_000) as one:
            yield one


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
async def test_every_route_keeps_to_the_document_whatever_is_sent(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        told = (await one.client.get("/openapi.json")).json()
        job = (await one.client.post("/v1/jobs", json={"model": "chat", "messages": "Hello"})).json()["id"]
        assert (await one.client.get(f"/v1/jobs/{job}/result?wait=5")).status_code == 200
        sender, wrong = Sender(one.url, one.key, job), list[str]()
        for found in schemathesis.openapi.from_dict(told).get_all_operations():
            assert isinstance(found, Ok)
            for mode in GenerationMode:
                try:
                    await asyncio.to_thread(exercised, found.ok(), mode, sender)
                except (FailureGroup, AssertionError) as error:
                    words = "".join(traceback.format_exception_only(error))
                    wrong.append(f"{found.ok().label} {mode.value}: {words}"[:2_000])
        assert not wrong, "\n\n".join(wrong)
        assert not [event for event in one.events if event.name == "edge.failed"]
        for label, least in {"POST /v1/chat/completions": 200, "POST /v1/jobs": 202, "GET /v1/jobs/{id}": 200}.items():
            assert sender.answered[label][least] > 0, sender.answered


@dataclass
class Sender:
    """Sends cases to an edge, valid ones for something that exists, and looks at what is answered."""

    url: str
    key: str
    job: str
    answered: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Statuses by operation."""
    _sent: int = 0

    def send(self, case: Case[Any], *, valid: bool) -> None:
        self._sent += 1
        if valid and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "vectors" if "inputs" in case.body else "chat"
            if self._sent % 2:
                _tame(case)
        if valid:
            _aim(case, self.job)
        key = ADMIN if case.path.startswith("/v1/keys") and not case.path.endswith("self") else self.key
        response = case.call(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=20)
        self.answered[f"{case.method} {case.path}"][response.status_code] += 1
        assert response.status_code < 500 or response.status_code in {502, 504}, response.text
        case.validate_response(response, checks=CHECKS)


def _aim(case: Case[Any], job: str) -> None:
    """Ask for something that exists, where it is known what does."""
    known = {"/v1/jobs/{id}": job, "/v1/chat/completions/{id}": f"chatcmpl-{job}", "/v1/keys/{id}": "test"}
    for path, name in known.items():
        if case.path.startswith(path):
            case.path_parameters["id"] = name
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "chat"


def _tame(case: Case[Any]) -> None:
    """Keep to what is answered."""
    assert isinstance(case.body, dict)
    for name in OPEN & case.body.keys():
        del case.body[name]
    case.body["messages"] = [{"role": "user", "content": "Hello"}]
    case.headers.clear()


def exercised(operation: Any, mode: GenerationMode, sender: Sender) -> None:
    """Send cases of one mode to one operation."""
    valid = mode is GenerationMode.POSITIVE

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=ASKED is None,
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

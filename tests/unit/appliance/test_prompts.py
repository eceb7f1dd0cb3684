"""The bundled requests: valid, different from one another, and of many kinds."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

from appliance.configuration import operator
from appliance.demo.prompts import bundled
from appliance.demo.staging import OVER
from catalogue.load import providers
from job_contracts.jobs import LANES
from producer_sdk.request import Request, prepare


def _prepared(arguments: dict[str, Any]) -> Request:
    rest = {name: value for name, value in arguments.items() if name not in {"model", "messages", "tools", "stream"}}
    return prepare(
        arguments["model"],
        arguments["messages"],
        arguments.get("tools", ()),
        rest,
        stream=False,
        new_id="stem-leaf",
        token="token",
        now=1_700_000_000.0,
    )


def test_there_are_at_least_two_hundred_and_no_two_ask_the_same() -> None:
    prompts = bundled()
    asked = Counter(json.dumps(prompt.arguments["messages"], sort_keys=True) for prompt in prompts)
    assert len(prompts) >= 200
    assert [text for text, count in asked.items() if count > 1] == []


def test_every_request_is_valid_and_its_route_can_serve_it() -> None:
    rows = providers()
    routes: dict[str, Any] = OVER["routes"]
    for prompt in bundled():
        needs = set(_prepared(prompt.arguments).ticket.needs)
        deployments = [name.split("/") for name in routes[prompt.route]["deployments"]]
        able = [name for name, model in deployments if needs <= rows[name].model(model).capabilities]
        assert able, f"request {prompt.number} needs {needs}"


def test_the_built_in_routes_serve_them_as_well() -> None:
    rows, routes = providers(), operator(None, simulate=True).config.routes
    for prompt in bundled():
        needs = set(_prepared(prompt.arguments).ticket.needs)
        deployments = [name.split("/") for name in routes[prompt.route].deployments]
        assert any(needs <= rows[name].model(model).capabilities for name, model in deployments), prompt.number


def test_they_are_of_many_kinds() -> None:
    arguments = [prompt.arguments for prompt in bundled()]
    needs = Counter(need for one in arguments for need in _prepared(one).ticket.needs)
    assert {need for need, count in needs.items() if count >= 4} >= {"tools", "images", "json_schema", "reasoning"}
    assert len({one.get("tags", {}).get("language") for one in arguments}) >= 40
    assert {one["lane"] for one in arguments} == set(LANES)
    assert len({one.get("priority") for one in arguments}) >= 8
    assert sum(len(one["messages"]) > 2 for one in arguments) >= 20
    assert sum(len(json.dumps(one["messages"])) > 4_000 for one in arguments) >= 4
    assert sum(bool(one.get("stream")) for one in arguments) >= 40
    settings = {"temperature", "top_p", "stop", "seed", "max_tokens", "tool_choice", "parallel_tool_calls", "deadline"}
    assert settings <= {name for one in arguments for name in one}


def test_images_come_as_pictures_and_as_addresses() -> None:
    parts = [
        part
        for prompt in bundled()
        for turn in prompt.arguments["messages"]
        if isinstance(turn["content"], list)
        for part in turn["content"]
        if part.get("type") == "image"
    ]
    pictures = [base64.b64decode(part["data"], validate=True) for part in parts if "data" in part]
    assert len(pictures) >= 8
    assert all(picture.startswith(b"\x89PNG\r\n\x1a\n") for picture in pictures)
    assert sum("url" in part for part in parts) >= 3

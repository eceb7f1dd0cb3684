"""Whatever a body holds, the answer is the sender's fault told in words, never ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from catalogue.load import providers
from gateway.bodies.failures import Failed
from gateway.bodies.objects import json_object
from tests.support.edge import RunningEdge, edge
from tests.support.gateway import gateway
from tests.support.upstream import completion, response, upstream

GOOD = b'{"model":"chat","messages":[{"role":"user","content":"Hi"}]'
DEEP = 100_000


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with upstream([response(completion("Hello!"))]) as provider:
        values: dict[str, Any] = {
            "providers": {"openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"}},
            "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
        }
        async with gateway(tmp_path, values, providers()) as whole, edge(whole) as made:
            yield made


NASTY = {
    "nothing": b"",
    "no object": b"[1]",
    "cut": GOOD,
    "more behind it": GOOD + b"} {}",
    "NaN": GOOD + b',"temperature":NaN}',
    "Infinity": GOOD + b',"temperature":Infinity}',
    "beyond a double": GOOD + b',"temperature":1e999}',
    "beyond a double, deep inside": GOOD
    + b',"tools":[{"type":"function","function":{"name":"f","parameters":{"x":-1e999}}}]}',
    "four thousand digits": GOOD + b',"max_tokens":' + b"9" * 4_000 + b"}",
    "five thousand digits": GOOD + b',"max_tokens":' + b"9" * 5_000 + b"}",
    "a large n": GOOD + b',"n":' + b"9" * 4_000 + b"}",
    "a large seed": GOOD + b',"seed":' + b"9" * 4_000 + b"}",
    "a large number for a float": GOOD + b',"temperature":' + b"9" * 4_000 + b"}",
    "lists in lists": GOOD + b',"stop":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "objects in objects": GOOD + b',"metadata":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "not UTF-8": GOOD[:-1] + b',"x":"\xff\xfe"}]}',
    "UTF-16": '{"model":"chat"}'.encode("utf-16"),
    "half a surrogate": b'{"model":"chat","messages":[{"role":"user","content":"\\ud800"}]}',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD + b"}",
    "numbers for messages": b'{"model":"chat","messages":[1,2,3]}',
    "an object for messages": b'{"model":"chat","messages":{"role":"user"}}',
    "an object for a model": b'{"model":{},"messages":[{"role":"user","content":"Hi"}]}',
    "a null for everything": b'{"model":null,"messages":null}',
}


async def test_every_nasty_body_is_refused_as_the_senders_fault(one: RunningEdge) -> None:
    for name, body in NASTY.items():
        answer = await one.client.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code in {400, 404}, f"{name}: {answer.status_code} {answer.text[:300]}"
        assert answer.json()["error"]["message"], name


async def test_of_a_name_that_is_given_twice_the_last_value_counts(one: RunningEdge) -> None:
    body = b'{"model":"nonsense","model":"chat","messages":[{"role":"user","content":"Hi"}]}'
    answer = await one.client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(), JSON, max_size=5))
def test_every_object_that_is_json_is_read_as_it_was_written(value: dict[str, Any]) -> None:
    assert json_object(to_json(value)) == value


@given(data=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_bytes_are_an_object_or_an_error_of_400(data: bytes) -> None:
    try:
        found: object = json_object(data)
    except Failed as failed:
        found = failed.error.status
    assert found == 400 or isinstance(found, dict)

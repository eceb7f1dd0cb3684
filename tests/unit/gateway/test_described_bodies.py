"""What the document says of bodies is what their readers know; and what is no text is refused, wherever one is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs
import pytest

from gateway.bodies import (
    anthropic,
    anthropic_schemas,
    native,
    native_schemas,
    openai_batches,
    openai_chat,
    openai_chat_schemas,
    openai_embeddings,
    openai_responses,
    openai_responses_schemas,
)
from gateway.bodies.failures import Failed
from gateway.bodies.kinds import whole
from gateway.bodies.schemas import optional
from gateway.routes.responses import ENDPOINTS
from job_contracts.chat import Conversation
from job_contracts.codec import ContractError, check
from producer_sdk.errors import InvalidRequest
from producer_sdk.generation import tool_list
from producer_sdk.messages import turns
from producer_sdk.request import LOOKS_ABSOLUTE

READERS: Mapping[str, tuple[Callable[[Mapping[str, Any]], Any], dict[str, Any]]] = {
    "chat": (openai_chat.asked, openai_chat_schemas.request()),
    "responses": (lambda body: openai_responses.wanted(body).asked(), openai_responses_schemas.request()),
    "messages": (anthropic.read, anthropic_schemas.request()),
    "counted": (lambda body: anthropic.read(body, counting=True), anthropic_schemas.counted()),
    "embeddings": (openai_embeddings.read, openai_embeddings.REQUEST),
    "batches": (lambda body: openai_batches.wish(body, ("/v1/x",)), openai_batches.request(("/v1/x",))),
}


def test_a_field_that_a_reader_knows_is_in_the_document() -> None:
    for name, known in {
        "messages": anthropic.KNOWN | anthropic.UNUSED | anthropic.NOT_HERE.keys(),
        "embeddings": openai_embeddings.KNOWN | openai_embeddings.UNUSED,
        "batches": openai_batches.KNOWN,
    }.items():
        assert READERS[name][1]["properties"].keys() == known
    assert READERS["chat"][1]["properties"].keys() > openai_chat.SETTINGS | openai_chat.UNUSED
    responses = {*openai_responses.ECHOED, *openai_responses.SAME, *openai_responses.UNUSED}
    assert responses < READERS["responses"][1]["properties"].keys()
    conversation, texts = native_schemas.submission()["anyOf"]
    assert conversation["properties"].keys() == native.CONVERSATION | native.OPTIONS | {"model"}
    assert texts["properties"].keys() == native.EMBEDDING | native.OPTIONS | {"model"}
    assert native_schemas.LATEST == LOOKS_ABSOLUTE


@pytest.mark.parametrize("api", READERS)
def test_a_field_in_the_document_is_known_to_its_reader(api: str) -> None:
    read, schema = READERS[api]
    for name in schema["properties"]:
        with pytest.raises(Failed) as failed:  # there is more wrong with it
            read({name: {"x": 1}})
        assert (failed.value.error.code, failed.value.error.param) != ("unknown_parameter", name)


@pytest.mark.parametrize(
    ("api", "body", "param"),
    [
        ("responses", {"input": "x", "include": [[]]}, "include"),
        ("responses", {"input": [{"role": ["user"], "content": "x"}]}, "input[0].role"),
        ("responses", {"input": [{"role": "user", "content": [{"type": {}}]}]}, "input[0].content[0].type"),
        ("responses", {"input": [{"role": "assistant", "content": [{"type": []}]}]}, "input[0].content[0].type"),
        ("responses", {"input": [{"type": "reasoning", "encrypted_content": 0}]}, "input[0].encrypted_content"),
        ("responses", {"input": "x", "text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ("responses", {"input": "x", "prompt_cache_key": "k" * 257}, "prompt_cache_key"),
        ("chat", {"messages": [{"role": "user", "content": "x"}], "prompt_cache_key": "k" * 257}, "prompt_cache_key"),
        ("counted", {"messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": []}}, "tool_choice.type"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_by_its_path(api: str, body: dict[str, Any], param: str) -> None:
    read, schema = READERS[api]
    given = {"model": "chat", **body}
    with pytest.raises(Failed) as failed:
        read(given)
    assert (failed.value.error.status, failed.value.error.param) == (400, param)
    assert not jsonschema_rs.is_valid(schema, given)


def test_a_part_whose_type_is_no_text_is_refused_by_its_path() -> None:
    with pytest.raises(InvalidRequest) as refused:
        turns([{"role": "user", "content": [{"type": ["text"]}]}])
    assert refused.value.field == "messages[0].content[0].type"


def test_a_function_may_not_be_kept_for_another_time_than_its_tool() -> None:
    function = {"name": "f", "cache": "5m"}
    assert tool_list([{"type": "function", "function": function, "cache": "5m"}]) == [function]
    with pytest.raises(InvalidRequest) as refused:
        tool_list([{"type": "function", "function": function, "cache": "1h"}])
    assert refused.value.field == "tools[0].function.cache"


def test_a_flag_is_true_or_false_and_nothing_that_may_be_taken_for_it() -> None:
    turn = {"role": "tool", "tool_call_id": "x", "content": "y", "is_error": 1}
    for asked in (
        {"messages": [turn]},
        {"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f", "strict": "yes"}]},
    ):
        with pytest.raises(ContractError):
            check(Conversation, asked)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert [whole(one) for one in (1, 1.0, 1.5, True, "1", None)] == [1, 1, None, None, None, None]
    given = native.submission({"model": "vectors", "inputs": "x", "dimensions": 8.0, "priority": 3.0})
    assert (given.dimensions, given.options["priority"]) == (8, 3)
    assert openai_chat.asked({"model": "chat", "messages": [{"role": "user", "content": "x"}], "n": 2.0}).n == 2
    with pytest.raises(Failed, match="max_cost"):
        native.submission({"model": "chat", "messages": "x", "max_cost": "nan"})


@pytest.mark.parametrize(
    "schema", [{"type": "string"}, {"enum": ["a"]}, {"const": "a"}, {"type": "null"}, {}, {"anyOf": [{"const": "a"}]}]
)
def test_what_is_optional_may_be_null(schema: dict[str, Any]) -> None:
    assert jsonschema_rs.is_valid(optional(schema), None)
    assert jsonschema_rs.is_valid(optional(schema), "a") is (schema != {"type": "null"})
    assert jsonschema_rs.is_valid(optional(schema), 1) is (not schema)


def test_the_events_of_a_response_have_ids_of_their_own() -> None:
    told = {endpoint.handler.__name__: endpoint.about for endpoint in ENDPOINTS if endpoint.about is not None}
    for name in ("create", "retrieve"):
        patterns = [one.schema["pattern"] for one in told[name].parameters if one.name == "last-event-id"]
        assert patterns == ["^[0-9]{0,15}$"]

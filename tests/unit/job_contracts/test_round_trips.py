"""Every message comes back as it was, and nothing but a ContractError comes of bytes that are not one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from job_contracts.chat import Conversation, Tool
from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.messages import MESSAGES
from job_contracts.results import Result
from tests.support import builders
from tests.support.strategies import EVERY_MESSAGE, whole_results
from tests.support.strategies_chat import conversations
from tests.support.strategies_plain import json_values

few = settings(max_examples=20)
every_message = pytest.mark.parametrize("name", MESSAGES)


def test_there_is_a_strategy_for_every_message() -> None:
    assert EVERY_MESSAGE.keys() == MESSAGES.keys()


@every_message
@few
@given(data=st.data())
def test_a_message_comes_back_from_its_bytes_as_it_was(name: str, data: st.DataObject) -> None:
    message = data.draw(EVERY_MESSAGE[name])
    assert decode(MESSAGES[name], encode(message)) == message


@every_message
@few
@given(data=st.data())
def test_a_message_is_written_the_same_way_every_time(name: str, data: st.DataObject) -> None:
    message = data.draw(EVERY_MESSAGE[name])
    assert encode(decode(MESSAGES[name], encode(message))) == encode(message)


@given(conversations())
def test_a_conversation_comes_back_as_it_was(conversation: Conversation) -> None:
    assert decode(Conversation, encode(conversation)) == conversation


@given(whole_results)
def test_money_keeps_every_digit(result: Result) -> None:
    read = decode(Result, encode(result))
    assert str(read.cost) == str(result.cost)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_the_json_inside_a_tool_is_not_touched(parameters: dict[str, Any]) -> None:
    tool = Tool(name="look", parameters=parameters)
    assert json.loads(encode(tool))["parameters"] == parameters
    assert decode(Tool, encode(tool)).parameters == parameters


def refusal_of(kind: type[Wire], data: bytes | str) -> ContractError | None:
    """How it is refused; any other exception fails the test."""
    try:
        decode(kind, data)
    except ContractError as error:
        return error
    return None


@every_message
@few
@given(noise=st.binary(max_size=60))
def test_noise_is_refused_with_a_contract_error(name: str, noise: bytes) -> None:
    refused = refusal_of(MESSAGES[name], noise)
    assert refused is None or refused.remedy


@given(noise=json_values, name=st.sampled_from(sorted(MESSAGES)))
def test_json_of_another_form_is_refused_with_a_contract_error(noise: object, name: str) -> None:
    refused = refusal_of(MESSAGES[name], json.dumps(noise))
    assert refused is None or (refused.remedy and str(refused).startswith(MESSAGES[name].__name__))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[" * 100_000, b'{"messages":[{"role":"user","content":"\\ud800"}]}', b"1" * 5_000, "\ud800"],
    ids=["nothing", "not UTF-8", "nested too deeply", "half a surrogate pair", "a huge number", "text that is none"],
)
def test_what_is_not_json_is_refused_with_a_contract_error(data: bytes | str) -> None:
    with pytest.raises(ContractError, match="the whole message"):
        decode(Conversation, data)


def test_what_json_cannot_hold_is_refused_when_it_is_written() -> None:
    with pytest.raises(ContractError, match="surrogates not allowed") as refused:
        encode(Tool(name="look", parameters={"a": "\ud800"}))
    assert refused.value.remedy


@every_message
@few
@given(data=st.data())
def test_a_message_cannot_be_changed(name: str, data: st.DataObject) -> None:
    message: Wire = data.draw(EVERY_MESSAGE[name])
    for field in type(message).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(message, field, None)


def test_two_messages_share_no_default() -> None:
    one, other = builders.result(tags={}), builders.result()
    one.tags["a"] = "b"
    assert other.tags == {}
    assert builders.result().tags == {}

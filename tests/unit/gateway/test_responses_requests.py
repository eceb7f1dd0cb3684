"""Bodies of the Responses API: what they ask for, what is refused and how, and what comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies.failures import Failed
from gateway.bodies.openai_responses import Wanted, wanted
from gateway.bodies.openai_responses_answer import ended, page, pending, said
from gateway.bodies.openai_responses_kept import Kept
from gateway.bodies.openai_responses_seal import opened, seal
from job_contracts.chat import Answer, AssistantTurn, ReasoningPart, RefusalPart, TextPart, ToolCallPart
from job_contracts.codec import check, decode, encode
from producer_sdk.messages import turns
from producer_sdk.request import prepare
from tests.unit.gateway.test_responses_stream import JOB, result, texts

TOOL = {"type": "function", "name": "wind", "parameters": {"type": "object", "properties": {}}}


def asked(**body: Any) -> Any:
    return wanted({"model": "chat", "input": "Hi", **body}).asked()


def refusal(**body: Any) -> Any:
    with pytest.raises(Failed) as failed:
        asked(**body)
    assert failed.value.error.status == 400
    return failed.value.error


def submitted(read: Wanted, before: Any = ()) -> Any:
    """The conversation as the SDK submits it, with everything it checks."""
    whole = read.asked(before)
    made = prepare(
        whole.model, whole.messages, whole.tools, whole.settings, stream=False, new_id="a-b", token="t", now=1.0
    )
    return json.loads(made.body)["conversation"]


def test_a_body_with_everything_becomes_a_job_with_everything() -> None:
    form = {"type": "json_schema", "name": "wind", "schema": {"type": "object"}, "strict": True}
    read = wanted(
        {
            "model": "chat",
            "instructions": "Be brief.",
            "input": "Hi",
            "tools": [TOOL],
            "tool_choice": {"type": "function", "name": "wind"},
            "parallel_tool_calls": False,
            "text": {"format": form, "verbosity": "low"},
            "reasoning": {"effort": "low", "summary": "auto"},
            "max_output_tokens": 99,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_logprobs": 2,
            "metadata": {"a": "b"},
            "truncation": "auto",
            "include": ["reasoning.encrypted_content", "web_search_call.results"],
            "user": "u1",
            "service_tier": "flex",
            "prompt_cache_key": "k1",
            "stream": True,
            "stream_options": {"include_obfuscation": False},
            "store": True,
            "conversation": None,
        }
    )
    assert submitted(read) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "tools": [{"name": "wind", "parameters": {"type": "object", "properties": {}}}],
        "settings": {
            "max_tokens": 99,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": [],
            "response_format": {
                "type": "json_schema",
                "name": "wind",
                "json_schema": {"type": "object"},
                "strict": True,
            },
            "tool_choice": {"name": "wind"},
            "parallel_tool_calls": False,
            "reasoning_effort": "low",
            "logprobs": True,
            "top_logprobs": 2,
            "n": 1,
        },
    }
    whole = read.asked()
    assert (read.stream, read.sealed, read.session) == (True, True, "k1")
    assert sorted(whole.unused) == [
        "include.web_search_call.results",
        "reasoning.summary",
        "service_tier",
        "text.verbosity",
        "truncation",
        "user",
    ]


def test_items_of_all_kinds_become_turns_in_their_order() -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look:"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                {"type": "input_image", "image_url": "https://example.org/a.png"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"},
                {"type": "input_file", "file_url": "https://example.org/a.csv?x=1"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A map.", "annotations": []}], "id": "m1"},
        {"type": "function_call", "call_id": "c1", "name": "wind", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "A breeze."}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": "And?"},
    ]
    messages = submitted(wanted({"model": "chat", "input": items}))["messages"]
    assert [one["role"] for one in messages] == ["developer", "user", "assistant", "tool", "assistant", "user"]
    assert [part["type"] for part in messages[1]["content"]] == ["text", "image", "image", "file", "file"]
    assert [part.get("media_type") for part in messages[1]["content"]] == [
        None,
        "image/png",
        None,
        "application/pdf",
        "text/csv",
    ]
    assert [part["type"] for part in messages[2]["content"]] == ["reasoning", "text", "tool_call"]
    assert messages[3] == {"role": "tool", "tool_call_id": "c1", "content": "A breeze.", "is_error": False}
    assert [part["type"] for part in messages[4]["content"]] == ["refusal", "text"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": ""}, "model", "invalid_value"),
        ({"input": None}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": ["Hi"]}, "input[0]", "invalid_type"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type", "unsupported_parameter"),
        ({"input": [{"type": "item_reference", "id": "m"}]}, "input[0].type", "unsupported_parameter"),
        ({"input": [{"role": "nobody", "content": "Hi"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content", "invalid_type"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type", "invalid_value"),
        ({"input": [{"role": "user", "content": "", "x": 1}]}, "input[0].x", "unknown_parameter"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
            "unsupported_parameter",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
            "input[0].content[0].image_url",
            "invalid_value",
        ),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "n"}]}, "input[0].arguments", None),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_parameter"),
        ({"tools": "all"}, "tools", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"background": True, "store": False}, "background", "invalid_value"),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        ({"include": ["everything"]}, "include", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata", "invalid_value"),
        ({"metadata": {"a": "b" * 513}}, "metadata", "invalid_value"),
        ({"text": {"shape": "round"}}, "text.shape", "unknown_parameter"),
        ({"reasoning": "much"}, "reasoning", "invalid_type"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"previous_response_id": 3}, "previous_response_id", "invalid_type"),
    ],
)
def test_what_cannot_be_is_refused_by_its_place(body: dict[str, Any], param: str, code: str | None) -> None:
    error = refusal(**body)
    assert error.param == param
    assert error.code == (code or "missing_required_parameter")


# -- seals

signed = st.builds(
    ReasoningPart,
    text=texts,
    signature=st.none() | texts,
    redacted=st.none() | texts,
    origin=st.none() | st.just("family"),
)
parts = st.one_of(
    st.builds(TextPart, text=texts.filter(bool)),
    signed,
    st.builds(RefusalPart, text=texts.filter(bool)),
    st.builds(
        ToolCallPart, id=st.uuids().map(str), name=st.just("n"), signature=st.none() | texts, origin=st.just("f")
    ),
)


@given(parts=st.lists(parts, min_size=1, max_size=6))
def test_a_sealed_answer_that_comes_back_is_the_same_part_by_part(parts: list[Any]) -> None:
    answer = Answer(parts=tuple(parts))
    if seal(answer.parts) is None:
        return
    items = said(Kept(created=1.0, model="chat"), result(answer))
    back = wanted({"model": "chat", "input": [*items, {"role": "user", "content": "And?"}]}).asked()
    assert back.unused == ()
    turn = check(AssistantTurn, turns(back.messages)[0])
    assert turn.content == tuple(_unmarked(part) for part in parts)


def _unmarked(part: Any) -> Any:
    """An origin says something only of what is signed."""
    marks = {getattr(part, name, None) for name in ("signature", "redacted")}
    return (
        part
        if isinstance(part, TextPart | RefusalPart) or marks != {None}
        else part.model_copy(update={"origin": None})
    )


def test_a_seal_is_given_out_only_when_it_is_asked_for() -> None:
    answer = Answer(parts=(ReasoningPart(signature="s", origin="f"), TextPart(text="Aye.")))
    plain, sealed = (
        ended(Kept(created=1.0, model="chat", sealed=sealed), result(answer))["output"] for sealed in (False, True)
    )
    assert [one["type"] for one in plain] == ["message"]
    assert [one["type"] for one in sealed] == ["message", "reasoning"]
    assert sealed[1]["summary"] == []
    assert sealed[1]["encrypted_content"]


@pytest.mark.parametrize("sealed", ["gAAAAA", "penstock1.", "penstock1.AAAA", "penstock1.W3sidHlwZSI6MX1d", "ü"])
def test_what_is_no_seal_of_ours_is_left_aside_and_told(sealed: str) -> None:
    assert opened([], sealed) is None
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    read = asked(input=[{"role": "user", "content": "Hi"}, item])
    assert read.unused == ("input[1].encrypted_content",)
    assert len(read.messages) == 1


def test_a_seal_does_not_fit_a_text_that_somebody_has_changed() -> None:
    answer = Answer(parts=(ReasoningPart(signature="s", origin="f"), TextPart(text="Aye.")))
    sealed = seal(answer.parts)
    assert sealed is not None
    assert opened([{"type": "text", "text": "Aye, aye."}], sealed) is None


# -- objects


def test_a_record_is_read_back_as_it_was_written() -> None:
    read = wanted({"model": "chat", "input": "Hi", "metadata": {"a": "b"}, "background": True, "user": None})
    read.asked()
    kept = read.kept(JOB, 12.5, [{"type": "message", "role": "user", "id": "m1", "content": "Before"}])
    assert decode(Kept, encode(kept)) == kept
    assert [one["id"] for one in kept.items] == ["m1", f"msg_{JOB}_in1"]
    told = pending(kept, JOB, "queued")
    assert (told["metadata"], told["created_at"], told["temperature"]) == ({"a": "b"}, 12, None)


def test_a_page_goes_on_after_an_item_and_keeps_seals_to_itself() -> None:
    items = tuple({"type": "reasoning", "id": f"rs_{at}", "encrypted_content": "x"} for at in range(3))
    kept = Kept(created=1.0, model="chat", items=items)
    told = page(kept, limit=1, order="asc", after="rs_0", include=())
    assert told["data"] == [{"type": "reasoning", "id": "rs_1"}]
    assert (told["first_id"], told["last_id"], told["has_more"]) == ("rs_1", "rs_1", True)
    sealed = page(kept, limit=9, order="desc", after=None, include=("reasoning.encrypted_content",))
    assert [one["id"] for one in sealed["data"]] == ["rs_2", "rs_1", "rs_0"]
    assert sealed["data"][0]["encrypted_content"] == "x"
    with pytest.raises(Failed):
        page(kept, limit=1, order="asc", after="nothing", include=())

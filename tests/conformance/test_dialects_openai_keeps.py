"""Every row that speaks OpenAI's chat completions: files, marks, reasoning and settings come through or are losses."""

from __future__ import annotations

import base64
import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogue.quirks import quirks_of
from job_contracts.chat import AssistantTurn, Conversation, FilePart, SystemTurn, TextPart, ToolTurn
from tests.conformance.recordings import rows
from tests.conformance.translate import translate
from tests.support import strategies_chat
from workers.dialects import DIALECTS
from workers.dialects.port import Target

ROWS = {name: row for name, row in rows().items() if row.dialect == "openai_chat"}
DATA = base64.b64encode(b"what the file holds").decode()

files = st.builds(
    FilePart,
    data=st.just(DATA),
    media_type=st.sampled_from(["application/pdf", "audio/wav", "audio/mpeg", "text/plain", "video/mp4", "text/csv"]),
    name=st.sampled_from([None, "a.bin"]),
    cache=st.sampled_from([None, "5m", "1h"]),
) | st.builds(
    FilePart,
    url=st.just("https://example.com/a"),
    media_type=st.sampled_from(["application/pdf", "audio/wav", "text/plain", "video/mp4"]),
)
texts = st.builds(TextPart, text=st.text(min_size=1, max_size=5), cache=st.sampled_from([None, "5m", "1h"]))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    drawn = draw(strategies_chat.conversations())
    content = draw(st.lists(files | texts, min_size=1, max_size=4))
    asking = {"role": "user", "content": [part.model_dump() for part in content]}
    budget = draw(st.none() | st.integers(1, 100_000))
    top_k = draw(st.none() | st.integers(1, 100))
    values = drawn.model_dump()
    wanted = {**values["settings"], "reasoning_budget": budget, "top_k": top_k}
    at = draw(st.integers(0, len(values["messages"])))
    if drawn.messages and at < len(drawn.messages) and isinstance(drawn.messages[at], ToolTurn):
        at = 0
    turns = [*values["messages"][:at], asking, *values["messages"][at:]]
    return Conversation.model_validate({**values, "messages": turns, "settings": wanted})


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(data=st.data())
def test_files_marks_and_settings_come_through_or_are_losses(name: str, data: st.DataObject) -> None:
    row = ROWS[name]
    target = Target(row, row.model(data.draw(st.sampled_from([one.name for one in row.models] or ["m"]))))
    conversation = data.draw(conversations())
    encoded = DIALECTS["openai_chat"].encode(conversation, target)
    body = json.loads(encoded.body)
    back = translate("openai_chat", body).conversation
    lost = {(loss.kind, loss.field) for loss in encoded.losses}
    fields = {field for _, field in lost}

    # Files: as many data or addresses as there were, or a loss for the content they stood in.
    text = json.dumps(body)
    for at, turn in enumerate(conversation.messages):
        if isinstance(turn, AssistantTurn | SystemTurn) or isinstance(turn.content, str):
            continue
        for part in turn.content:
            if isinstance(part, FilePart):
                shown = (part.data or part.url or "") in text
                assert shown or f"messages[{at}].content" in fields, (part, lost)

    # Marks: sent, or said once not to be.
    marked = any(
        getattr(part, "cache", None)
        for turn in conversation.messages
        if not isinstance(turn.content, str)
        for part in turn.content
    )
    kept = "cache_control" in text
    if marked and not kept:
        assert any(field.endswith((".cache", ".content")) for field in fields)
    assert len([1 for loss in encoded.losses if loss.field.endswith(".cache")]) <= 1

    # Settings: the same, or a loss names them.
    wanted, got = conversation.settings, back.settings
    for setting in ("temperature", "top_k", "seed", "presence_penalty", "frequency_penalty", "top_p", "max_tokens"):
        if f"settings.{setting}" not in fields:
            assert getattr(wanted, setting) == getattr(got, setting), (setting, lost)
    if wanted.reasoning_budget is not None and "settings.reasoning_budget" not in fields:
        assert got.reasoning_budget == wanted.reasoning_budget

    # Roles: where they must alternate, they do, as far as messages hold nothing but content.
    quirks = quirks_of(row, target.model)
    roles = [message["role"] for message in body["messages"]]
    if quirks.system_place != "any":
        assert "system" not in roles[len([role for role in roles if role in {"system", "developer"}]) :]
    if quirks.alternating:
        plain = [(one["role"], one.keys() == {"role", "content"}) for one in body["messages"]]
        neighbours = pairwise(plain)
        assert not [1 for one, other in neighbours if one == other and one[1] and one[0] in {"user", "assistant"}]

"""A message of the wrong form is refused in words: which field, what is wrong with it, what to do."""

from __future__ import annotations

from typing import Any

import pytest

from job_contracts.chat import Conversation
from job_contracts.codec import ContractError, Wire, check, dotted
from job_contracts.jobs import BlobRef, Job, Ticket

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "look"}
JOB = {"id": "a-b", "route": "fast", "conversation": {"messages": [USER]}}
TICKET = {"route": "fast", "submitted": 1.0, "token": "t", "body_hash": "h", "input_estimate": 1}


def turns(*messages: Any, **others: Any) -> dict[str, Any]:
    return {"messages": list(messages), **others}


@pytest.mark.parametrize(
    ("kind", "values", "field", "message", "remedy"),
    [
        (Job, {k: v for k, v in JOB.items() if k != "route"}, "route", "is missing", "add route"),
        (Job, JOB | {"route": ""}, "route", "at least 1 character", "correct route"),
        (Job, JOB | {"lane": "fast"}, "lane", "'rt', 'std', 'batch' or 'bg'", "correct lane"),
        (Job, JOB | {"priority": 10}, "priority", "less than or equal to 9", "correct priority"),
        (Job, JOB | {"prio": 1}, "prio", "not permitted", "remove prio, or check its spelling"),
        (Job, JOB | {"deadline": 5, "not_before": 5}, "deadline", "later than not_before", "correct deadline"),
        (Job, JOB | {"max_cost": "-1"}, "max_cost", "greater than or equal to 0", "correct max_cost"),
        (Job, JOB | {"max_cost": "NaN"}, "max_cost", "finite", "correct max_cost"),
        (Job, JOB | {"deadline": float("inf")}, "deadline", "finite", "correct deadline"),
        (Job, JOB | {"tags": {str(i): "" for i in range(17)}}, "tags", "at most 16", "correct tags"),
        (Job, JOB | {"tags": {"a": 1}}, "tags.a", "string", "correct tags.a"),
        (Job, JOB | {"tags": {"a": "1", "n" * 65: ""}}, "tags", "has 65 characters, at most 64 fit", "correct tags"),
        (Job, JOB | {"tags": {"a": "v" * 513}}, "tags", "'a' has 513 characters, at most 512 fit", "correct tags"),
        (Job, JOB | {"replay_of": "j" * 257}, "replay_of", "at most 256", "correct replay_of"),
        (Job, JOB | {"conversation": {}}, "conversation.messages", "is missing", "add conversation.messages"),
        (Conversation, turns(), "messages", "at least 1", "correct messages"),
        (Conversation, turns({"content": "hi"}), "messages[0].role", "is missing", "add messages[0].role"),
        (
            Conversation,
            turns({"role": "bot"}),
            "messages[0].role",
            "'bot' is none of 'system'",
            "correct messages[0].role",
        ),
        (Conversation, turns(USER | {"content": 5}), "messages[0].content", "string", "correct messages[0].content"),
        (
            Conversation,
            turns(USER, USER | {"content": [{"type": "txt"}]}),
            "messages[1].content[0].type",
            "'txt' is none of 'text', 'image'",
            "correct messages[1].content[0].type",
        ),
        (
            Conversation,
            turns(USER | {"content": [{"type": "image"}]}),
            "messages[0].content[0]",
            "either url or data",
            "correct messages[0].content[0]",
        ),
        (
            Conversation,
            turns(USER | {"content": [{"type": "image", "data": "aGk="}]}),
            "messages[0].content[0]",
            "needs its media_type",
            "correct messages[0].content[0]",
        ),
        (
            Conversation,
            turns({"role": "tool", "content": "x"}),
            "messages[0].tool_call_id",
            "is missing",
            "add messages[0].tool_call_id",
        ),
        (
            Conversation,
            turns(USER, settings={"temperature": 3}),
            "settings.temperature",
            "less than or equal to 2",
            "correct settings.temperature",
        ),
        (
            Conversation,
            turns(USER, settings={"response_format": {"type": "json_schema"}}),
            "settings.response_format.json_schema",
            "is missing",
            "add settings.response_format.json_schema",
        ),
        (
            Conversation,
            turns(USER, settings={"tool_choice": {"nam": "x"}}),
            "settings.tool_choice.name",
            "is missing",
            "add settings.tool_choice.name",
        ),
        (
            Conversation,
            turns(USER, tools=[TOOL], settings={"tool_choice": {"name": "see"}}),
            "settings.tool_choice",
            "no tool named 'see'",
            "correct settings.tool_choice",
        ),
        (
            Conversation,
            turns(USER, settings={"tool_choice": "required"}),
            "settings.tool_choice",
            "needs at least one tool",
            "correct settings.tool_choice",
        ),
        (Conversation, turns(USER, tools=[TOOL, TOOL]), "tools", "a name of its own", "correct tools"),
        (Conversation, turns(USER, tools=[{"name": "a b"}]), "tools[0].name", "match pattern", "correct tools[0].name"),
        (
            Ticket,
            TICKET | {"input_estimate": -1},
            "input_estimate",
            "greater than or equal to 0",
            "correct input_estimate",
        ),
        (Ticket, TICKET | {"input_estimate": 10**400}, "input_estimate", "", "correct input_estimate"),
        (Ticket, TICKET | {"tags": {"n" * 192: "v" * 385}}, "tags", "more than 576 characters", "correct tags"),
        (Ticket, TICKET | {"replay_of": "j" * 257}, "replay_of", "at most 256", "correct replay_of"),
        (Ticket, TICKET | {"max_output": 0}, "max_output", "greater than 0", "correct max_output"),
        (Ticket, TICKET | {"needs": ["magic"]}, "needs[0]", "'tools', 'images'", "correct needs[0]"),
        (
            Ticket,
            TICKET | {"blob": {"chunks": 0, "size": 1, "sha256": "ab" * 32}},
            "blob.chunks",
            "",
            "correct blob.chunks",
        ),
        (BlobRef, {"chunks": 1, "size": 1, "sha256": "../x"}, "sha256", "match pattern", "correct sha256"),
    ],
)
def test_a_refusal_names_the_field_and_the_remedy(
    kind: type[Wire], values: dict[str, Any], field: str, message: str, remedy: str
) -> None:
    with pytest.raises(ContractError) as refused:
        check(kind, values, strict_names=True)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{kind.__name__}: {field}: ")
    assert message in str(refused.value)
    assert refused.value.remedy == remedy


def test_several_wrong_fields_are_counted() -> None:
    with pytest.raises(ContractError, match=r"^Ticket: submitted: is missing \(and 3 more\)$"):
        check(Ticket, {"route": "fast"})


def test_one_wrong_value_counts_once_however_many_readings_it_has() -> None:
    with pytest.raises(ContractError) as refused:
        check(Conversation, turns(USER | {"content": [{"type": "txt"}]}))
    assert "more" not in str(refused.value)


def test_a_value_that_was_sent_is_not_repeated() -> None:
    with pytest.raises(ContractError) as refused:
        check(Conversation, turns(USER | {"content": {"private": "my diary"}}))
    assert "diary" not in str(refused.value)


def test_a_location_is_written_as_people_write_it() -> None:
    assert dotted(("messages", 0, "content", 2, "url")) == "messages[0].content[2].url"
    assert dotted(()) == ""


def test_tags_may_be_as_long_as_a_budget_or_the_metadata_of_a_request_has_them() -> None:
    tags = {"n" * 64: "v" * 512, "": "", "é" * 64: "é" * 512}
    assert check(Job, JOB | {"tags": tags, "replay_of": "j" * 256}).tags == tags
    assert check(Ticket, TICKET | {"tags": tags}).tags == tags


def test_a_ticket_of_a_time_without_bounds_is_read_as_the_sdk_wrote_it() -> None:
    tags = {"n" * 192: ""}
    assert check(Ticket, TICKET | {"tags": tags}).tags == tags


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Job, JOB | {"tags": {"n" * 100_000: 1}}),
        (Job, JOB | {"tags": {"n" * 100_000: "v" * 100_000}}),
        (Ticket, TICKET | {"tags": {"n" * 100_000: "v" * 100_000}}),
        (Conversation, turns({"role": "r" * 100_000})),
    ],
)
def test_a_refusal_is_short_whatever_it_refuses(kind: type[Wire], values: dict[str, Any]) -> None:
    with pytest.raises(ContractError) as refused:
        check(kind, values)
    assert len(str(refused.value)) + len(refused.value.field) + len(refused.value.remedy) < 1_000


def test_of_very_many_faults_the_first_is_told_and_that_there_are_more() -> None:
    with pytest.raises(ContractError, match=r"role: is missing \(and at least \d+ more\)") as refused:
        check(Conversation, turns(USER, *[{}] * 10_000))
    assert refused.value.field == "messages[1].role"

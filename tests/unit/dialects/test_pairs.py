"""Histories that lack a call or a result: what the formats that refuse them are given instead."""

from __future__ import annotations

from typing import Any

from job_contracts.chat import AssistantTurn, Conversation, ToolTurn, UserTurn
from workers.dialects.encoding import Losses
from workers.dialects.pairs import NO_RESULT, paired

ASKED = {"role": "user", "content": "hi"}


def called(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_call", "id": id_, "name": "f"} for id_ in ids]}


def result(id_: str, content: str = "r") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def laid_out(*turns: Any, **options: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """The turns in short, and the losses."""
    losses = Losses()
    found = paired(Conversation.model_validate({"messages": turns}), losses, **options)
    return [_short(turn) for _, turn in found], [(loss.kind, loss.field) for loss in losses]


def _short(turn: Any) -> str:
    if isinstance(turn, ToolTurn):
        return f"result {turn.tool_call_id}: {turn.content}"
    if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str):
        return f"calls {' '.join(part.id for part in turn.content if part.type == 'tool_call')}"
    assert isinstance(turn, UserTurn | AssistantTurn)
    return f"{turn.role}: {turn.content}"


def test_what_is_in_good_order_stays_as_it_is() -> None:
    turns = [ASKED, called("a", "b"), result("a"), result("b"), called("c"), result("c"), ASKED]
    expected = ["user: hi", "calls a b", "result a: r", "result b: r", "calls c", "result c: r", "user: hi"]
    assert laid_out(*turns) == (expected, [])
    assert laid_out(ASKED) == (["user: hi"], [])


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    assert laid_out(ASKED, called("a", "b"), result("b"), ASKED) == (
        ["user: hi", "calls a b", "result b: r", f"result a: {NO_RESULT}", "user: hi"],
        [("rewritten", "messages[1].tool_call")],
    )


def test_a_result_without_a_call_becomes_the_users() -> None:
    assert laid_out(result("x"), ASKED, called("a"), result("a"), result("a", "again")) == (
        ["user: r", "user: hi", "calls a", "result a: r", "user: again"],
        [("converted", "messages[0]"), ("converted", "messages[4]")],
    )


def test_a_result_moves_up_to_its_own_call_and_not_to_the_last_turn() -> None:
    assert laid_out(ASKED, called("a"), {"role": "assistant", "content": "so"}, result("a")) == (
        ["user: hi", "calls a", "result a: r", "assistant: so"],
        [("rewritten", "messages[3]")],
    )


def test_ids_that_begin_anew_each_turn_are_told_apart() -> None:
    assert laid_out(called("0", "0"), result("0", "1st"), result("0", "2nd"), called("0"), result("0", "3rd")) == (
        ["calls 0 0_2", "result 0: 1st", "result 0_2: 2nd", "calls 0_3", "result 0_3: 3rd"],
        [("renamed", "messages[0].tool_call.id"), ("renamed", "messages[3].tool_call.id")],
    )


def test_results_stand_in_the_order_of_their_calls_where_nothing_else_pairs_them() -> None:
    turns = [called("a", "b"), result("b"), result("a")]
    assert laid_out(*turns)[0] == ["calls a b", "result b: r", "result a: r"]
    assert laid_out(*turns, call_order=True) == (
        ["calls a b", "result a: r", "result b: r"],
        [("rewritten", "messages[1]")],
    )

"""A conversation made shorter keeps what it must, in order, and says what went."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_contracts.chat import AssistantTurn, Conversation, SystemTurn, ToolCallPart, ToolTurn, Turn, UserTurn
from tests.support import strategies_chat
from workers.dialects import tokens
from workers.dialects.trimming import LONG, Trimmed, trimmed

REST = 5.0


def weigh(turn: Turn) -> float:
    return tokens.of_turn(turn, tokens.of_text)


def trim(conversation: Conversation, most: float) -> Trimmed | None:
    return trimmed(conversation, [weigh(turn) for turn in conversation.messages], REST, most, weigh)


def size(turns: Sequence[Turn]) -> float:
    return REST + sum(map(weigh, turns))


def system(text: str = "Be brief.") -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_call", "id": each, "name": "look"} for each in ids]}


def result(id: str, text: str = "found") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": text}


def talk(*turns: dict[str, Any]) -> Conversation:
    return Conversation.model_validate({"messages": turns})


def shape(conversation: Conversation) -> str:
    """One letter a turn."""
    return "".join(
        {"system": "s", "developer": "s", "user": "u", "assistant": "a", "tool": "t"}[turn.role]
        for turn in conversation.messages
    )


def words(conversation: Conversation) -> list[str]:
    return [turn.content if isinstance(turn.content, str) else "" for turn in conversation.messages]


# -- what goes first


def test_what_fits_comes_back_as_it_is() -> None:
    conversation = talk(system(), user("one"), said("two"), user("three"))
    found = trim(conversation, size(conversation.messages))
    assert found == Trimmed(conversation, size(conversation.messages), ())


def test_long_results_are_cut_before_any_turn_goes_and_the_oldest_first() -> None:
    long = "line of a log\n" * 1_000
    conversation = talk(
        user("first"), calls("a"), result("a", long), said("done"),
        user("next"), calls("b"), result("b", long), said("ok"), user("last"),
    )  # fmt: skip
    found = trim(conversation, size(conversation.messages) - 100)
    assert found is not None
    assert shape(found.conversation) == shape(conversation)
    assert len(words(found.conversation)[2]) < LONG
    assert words(found.conversation)[6] == long
    assert words(found.conversation)[2].startswith("line of a log\n")
    assert re.search(r"\n\[\d+ characters left out\]\n", words(found.conversation)[2])
    assert [(loss.kind, loss.field) for loss in found.losses] == [("dropped", "messages[2].content")]


def test_then_the_oldest_exchanges_go_whole_and_the_loss_has_the_numbers() -> None:
    pair = [user("a question, and more of it " * 20), said("an answer, and more of it " * 20)]
    conversation = talk(system(), *pair, *pair, *pair, user("last"))
    found = trim(conversation, size(conversation.messages) - 10)
    assert found is not None
    assert shape(found.conversation) == "suauau"
    assert found.count == pytest.approx(size(found.conversation.messages))
    (loss,) = found.losses
    assert (loss.kind, loss.field) == ("dropped", "messages[1:3]")
    assert re.fullmatch(r"2 turns \(about \d+ tokens\) left out to fit the context window", loss.detail)


def test_of_a_long_chain_of_calls_the_oldest_steps_go_and_the_question_and_the_newest_step_stay() -> None:
    steps = [
        turn for n in range(20) for turn in (calls(f"c{n}", f"d{n}"), result(f"c{n}", "x " * 200), result(f"d{n}"))
    ]
    conversation = talk(system(), user("before"), said("yes"), user("do it"), *steps)
    found = trim(conversation, size(conversation.messages) / 4)
    assert found is not None
    assert re.fullmatch(r"su(att)+", shape(found.conversation))
    assert words(found.conversation)[1] == "do it"
    assert found.conversation.messages[-3:] == conversation.messages[-3:]


def test_the_newest_results_are_cut_last_of_all() -> None:
    long = "word " * 5_000
    conversation = talk(user("go"), calls("a"), result("a", "short"), calls("b"), result("b", long))
    found = trim(conversation, 1_000)
    assert found is not None
    assert shape(found.conversation) == "uat"
    assert len(words(found.conversation)[2]) < LONG


def test_where_not_even_what_must_stay_fits_there_is_nothing() -> None:
    assert trim(talk(system("rule " * 500), user("hi")), 100) is None
    assert trim(talk(user("word " * 500)), 100) is None
    assert trim(talk(user("hi"), said("old"), user("word " * 500)), 100) is None


def test_many_cut_results_are_told_as_a_sum_because_a_record_has_room_for_some() -> None:
    steps = [turn for n in range(60) for turn in (calls(f"c{n}"), result(f"c{n}", "word " * 2_000))]
    conversation = talk(user("go"), *steps)
    found = trim(conversation, size(conversation.messages) / 4)
    assert found is not None
    assert len(found.losses) == 21
    assert re.search(r"of 3\d further results", found.losses[-1].detail)


def test_a_late_result_keeps_its_call_and_what_lies_between() -> None:
    conversation = talk(
        user("one " * 100), calls("a"), user("two " * 100), result("a"), said("x " * 300), user("last"), said("end")
    )
    found = trim(conversation, size(conversation.messages) - 1)
    assert found is not None
    assert shape(found.conversation) == "ua"


# -- whatever the conversation


def links(turns: Sequence[Turn]) -> list[tuple[int, int]]:
    """Places of calls and of the results that answer them: of each the nearest call before it with its id."""
    found, last = [], dict[str, int]()
    for place, turn in enumerate(turns):
        if isinstance(turn, ToolTurn) and turn.tool_call_id in last:
            found.append((last[turn.tool_call_id], place))
        elif isinstance(turn, AssistantTurn) and not isinstance(turn.content, str):
            last.update((part.id, place) for part in turn.content if isinstance(part, ToolCallPart))
    return found


ids = st.sampled_from(["a", "b", "c"])
texts = st.integers(0, 3_000).map(lambda length: "lorem ipsum " * (length // 12))
called = st.lists(ids, min_size=1, max_size=2, unique=True).map(lambda some: calls(*some))
some_turns = st.one_of(
    texts.map(system),
    texts.map(user),
    texts.map(said),
    called,
    st.builds(result, ids, texts),
    st.builds(result, ids, texts),
)
talks = st.lists(some_turns, min_size=1, max_size=25).map(lambda turns: talk(*turns))


@settings(max_examples=300)
@given(talks | strategies_chat.conversations(), st.floats(0, 1))
def test_what_is_left_is_legal_and_fits_and_nothing_that_must_stay_has_gone(
    conversation: Conversation, share: float
) -> None:
    turns = conversation.messages
    most = size(turns) * share
    found = trim(conversation, most)
    if found is None:
        return
    kept = found.conversation.messages
    assert found.count <= most
    assert found.count == pytest.approx(size(kept))
    assert size(kept) <= size(turns) + 1e-6

    places = _places(turns, kept)
    assert places == sorted(places), "the order is kept"
    here = set(places)
    assert {at for at, turn in enumerate(turns) if isinstance(turn, SystemTurn)} <= here
    spoken = [at for at, turn in enumerate(turns) if isinstance(turn, UserTurn)]
    assert not spoken or spoken[-1] in here
    assert len(turns) - 1 in here, "the newest turn stays"
    for call, answer in links(turns):
        assert (call in here) == (answer in here), "a call and its results go together"
    first, now_first = ([turn for turn in these if not isinstance(turn, SystemTurn)][:1] for these in (turns, kept))
    if first and isinstance(first[0], UserTurn):
        assert isinstance(now_first[0], UserTurn), "it still begins with a user's turn"
    assert (found.conversation == conversation) == (not found.losses)
    assert all(loss.kind == "dropped" and re.search(r"about \d+ tokens", loss.detail) for loss in found.losses)

    again = trim(found.conversation, most)
    assert again is not None
    assert again.conversation == found.conversation, "once is enough"


def _places(turns: Sequence[Turn], kept: Sequence[Turn]) -> list[int]:
    """Where the kept turns stood: matched from the end, for what goes is old; cut results by their call."""
    found: list[int] = []
    at = len(turns) - 1
    for turn in reversed(kept):
        while not _same(turns[at], turn):
            at -= 1
        found.append(at)
        at -= 1
    return found[::-1]


def _same(before: Turn, after: Turn) -> bool:
    if isinstance(before, ToolTurn) and isinstance(after, ToolTurn):
        return before.tool_call_id == after.tool_call_id and _text(before)[:500] == _text(after)[:500]
    return before == after


def _text(turn: ToolTurn) -> str:
    return turn.content if isinstance(turn.content, str) else repr(turn.content)

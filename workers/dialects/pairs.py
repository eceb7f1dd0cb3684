"""Calls and their results in pairs: formats that refuse one without the other get every call with one result.

A history may lack either: cut in the middle, written by hand, or by a server that counts its ids anew each turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from job_contracts.chat import AssistantTurn, ToolCallPart, ToolTurn, UserTurn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.chat import Conversation, Turn
    from workers.dialects.encoding import Losses

NO_RESULT = "(This call has no result.)"
"""What the model is told of a call that nobody answered."""
OPENING = "(The assistant speaks first.)"
"""Stands as the user's turn where a format wants one at the beginning and the conversation has none."""

Placed = tuple[int, "Turn"]


class _Step:
    """A turn and the results that belong to its calls, by the ids the calls are sent with."""

    __slots__ = ("at", "calls", "results", "turn")

    def __init__(self, at: int, turn: Turn, calls: Sequence[str] = ()) -> None:
        self.at = at
        self.turn = turn
        self.calls = calls
        self.results: dict[str, Placed] = {}


def paired(conversation: Conversation, losses: Losses, *, call_order: bool = False) -> Sequence[Placed]:
    """The turns with their places, every call followed by its one result.

    A result moves up to the call it answers, one that answers no call becomes the user's, a call without one gets
    ``NO_RESULT``, an id used twice is renamed. ``call_order``: results stand in the order of the calls.
    """
    turns = conversation.messages
    if not any(isinstance(turn, ToolTurn) or _calls(turn) for turn in turns):
        return list(enumerate(turns))
    steps: list[_Step] = []
    waiting: dict[str, deque[tuple[_Step, str]]] = {}
    taken: set[str] = set()
    for at, turn in enumerate(turns):
        if isinstance(turn, ToolTurn):
            _take_result(at, turn, steps, waiting, losses)
            continue
        step = _Step(at, turn)
        steps.append(step)
        if calls := _calls(turn):
            step.turn, step.calls = _with_own_ids(turn, calls, at, taken, losses)
            fresh: dict[str, deque[tuple[_Step, str]]] = {}
            for call, sent in zip(calls, step.calls, strict=True):
                fresh.setdefault(call.id, deque()).append((step, sent))
            waiting.update(fresh)
    return [placed for step in steps for placed in _laid_out(step, losses, call_order=call_order)]


def _calls(turn: Turn) -> list[ToolCallPart]:
    if not isinstance(turn, AssistantTurn) or isinstance(turn.content, str):
        return []
    return [part for part in turn.content if isinstance(part, ToolCallPart)]


def _with_own_ids(
    turn: Turn, calls: list[ToolCallPart], at: int, taken: set[str], losses: Losses
) -> tuple[Turn, list[str]]:
    """The turn with ids no earlier call has, and these ids."""
    sent: list[str] = []
    for call in calls:
        own, number = call.id, 1
        while own in taken:
            number += 1
            own = f"{call.id}_{number}"
        if own != call.id:
            losses.add("renamed", f"messages[{at}].tool_call.id", f"{call.id[:80]!r} is another call's id")
        taken.add(own)
        sent.append(own)
    if sent == [call.id for call in calls]:
        return turn, sent
    ids = iter(sent)
    content = [
        part.model_copy(update={"id": next(ids)}) if isinstance(part, ToolCallPart) else part for part in turn.content
    ]
    return turn.model_copy(update={"content": tuple(content)}), sent


def _take_result(
    at: int, turn: ToolTurn, steps: list[_Step], waiting: dict[str, deque[tuple[_Step, str]]], losses: Losses
) -> None:
    calls = waiting.get(turn.tool_call_id)
    if not calls:
        losses.add("converted", f"messages[{at}]", "no call before it waits for this result: it is sent as the user's")
        steps.append(_Step(at, UserTurn(role="user", content=turn.content)))
        return
    step, sent = calls.popleft()
    if steps[-1] is not step:
        losses.add("rewritten", f"messages[{at}]", "the result is moved up to the call it answers")
    if sent != turn.tool_call_id:
        turn = turn.model_copy(update={"tool_call_id": sent})
    step.results[sent] = (at, turn)


def _laid_out(step: _Step, losses: Losses, *, call_order: bool) -> list[Placed]:
    if not step.calls:
        return [(step.at, step.turn)]
    results = step.results
    for call in step.calls:
        if call not in results:
            losses.add("rewritten", f"messages[{step.at}].tool_call", "the call has no result: one is added")
            missing = ToolTurn(role="tool", tool_call_id=call, content=NO_RESULT, is_error=True)
            results[call] = (step.at, missing)
    found = list(results.values())
    if call_order:
        sorted_ = [results[call] for call in step.calls]
        if sorted_ != found:
            losses.add("rewritten", f"messages[{found[0][0]}]", "results are sent in the order of their calls")
            found = sorted_
    return [(step.at, step.turn), *found]

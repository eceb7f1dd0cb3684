"""Makes a conversation shorter until it fits: long results of tools first, then the oldest turns. Pure.

What stays in every case: the instructions (system turns), the last thing the user said, and the newest step after it,
which is an assistant's turn with the results of its calls. A call and its results go together or not at all. What is
left begins, after the instructions, with a user's turn, as every provider wants it. The order of giving up:

1. long results of tools are cut to their beginning and end, the oldest first;
2. whole exchanges go, the oldest first: what a user said, and everything up to what a user said next;
3. of the steps after the last user turn the oldest go, each with its results;
4. the results of the newest step are cut as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.chat import AssistantTurn, SystemTurn, TextPart, ToolCallPart, ToolTurn, UserTurn
from job_contracts.results import Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from job_contracts.chat import Conversation, Turn, UserPart

LONG = 2_000
"""Characters from which on a tool's result is cut."""
HEAD, TAIL = 1_000, 400
"""Characters that are left of its beginning and of its end."""
TOLD_APART = 20
"""Cut results that get a loss of their own; of more, the rest is told as a sum."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The shorter conversation, its count, and what was given up."""

    conversation: Conversation
    count: float
    losses: tuple[Loss, ...]
    places: tuple[int, ...] = ()
    """Where the turns that are left stood, if any has gone."""


class _Room:
    """A conversation on its way to being short enough. ``None`` stands where a turn has gone."""

    def __init__(self, turns: Sequence[Turn], weights: Sequence[float], total: float, most: float) -> None:
        self.turns: list[Turn | None] = list(turns)
        self.weights = list(weights)
        self.total = total
        self.most = most
        self.cut: list[tuple[int, int, float]] = []
        """Place, characters left out and tokens saved of each result that was cut."""
        self.gone: list[tuple[int, float]] = []
        """Place and tokens of each turn that went."""

    @property
    def fits(self) -> bool:
        return self.total <= self.most

    def drop(self, places: Sequence[int]) -> None:
        for place in places:
            self.turns[place] = None
            self.gone.append((place, self.weights[place]))
            self.total -= self.weights[place]
            self.weights[place] = 0.0

    def shorten(self, place: int, weigh: Callable[[Turn], float]) -> None:
        turn = self.turns[place]
        if not isinstance(turn, ToolTurn):
            return
        shorter, left_out = _shortened(turn)
        if not left_out:
            return
        weight = weigh(shorter)
        saved = self.weights[place] - weight
        if saved <= 0:
            return
        self.turns[place] = shorter
        self.weights[place] = weight
        self.total -= saved
        self.cut.append((place, left_out, saved))


def trimmed(
    conversation: Conversation, weights: Sequence[float], rest: float, most: float, weigh: Callable[[Turn], float]
) -> Trimmed | None:
    """The conversation with a count of at most ``most``, ``None`` if not even what must stay has so little.

    ``weights`` are the counts of its turns, ``rest`` that of everything else (tools, schema), ``weigh`` counts a turn
    that was cut. One that fits already comes back as it is.
    """
    turns = conversation.messages
    room = _Room(turns, weights, rest + sum(weights), most)
    if not room.fits:
        _give_up(room, turns, weigh)
    if not room.fits:
        return None
    if not room.cut and not room.gone:
        return Trimmed(conversation, room.total, ())
    kept = [(place, turn) for place, turn in enumerate(room.turns) if turn is not None]
    shorter = conversation.model_copy(update={"messages": tuple(turn for _, turn in kept)})
    places = tuple(place for place, _ in kept) if room.gone else ()
    return Trimmed(shorter, room.total, tuple(_losses(room)), places)


def _give_up(room: _Room, turns: Sequence[Turn], weigh: Callable[[Turn], float]) -> None:
    said = [place for place, turn in enumerate(turns) if not isinstance(turn, SystemTurn)]
    bound = _bound(turns)
    exchanges = _groups(turns, said, UserTurn, bound)
    last = exchanges.pop() if exchanges else []
    spoken = {place for place in said if isinstance(turns[place], UserTurn)}
    # Its first turn and the last thing the user said stay; where nobody said anything there are only steps.
    stays = {max(spoken, default=-1), *(spoken & set(last[:1]))}
    steps = _groups(turns, [place for place in last if place not in stays], AssistantTurn, bound)
    newest = steps.pop() if steps else []
    protected = frozenset(newest)
    for place in said:
        if room.fits:
            return
        if place not in protected:
            room.shorten(place, weigh)
    for places in (*exchanges, *steps):
        if room.fits:
            return
        room.drop(places)
    for place in newest:
        if room.fits:
            return
        room.shorten(place, weigh)


def _groups(
    turns: Sequence[Turn], places: Sequence[int], head: type[UserTurn | AssistantTurn], bound: Sequence[int]
) -> list[list[int]]:
    """The places in groups that each begin with such a turn; no group begins between a call and its result."""
    found: list[list[int]] = []
    for place in places:
        if not found or (isinstance(turns[place], head) and bound[place] < place):
            found.append([])
        found[-1].append(place)
    return found


def _bound(turns: Sequence[Turn]) -> list[int]:
    """For each place the last result of a call that was made before it."""
    calls: dict[str, int] = {}
    answered = [-1] * len(turns)
    for place, turn in enumerate(turns):
        if isinstance(turn, ToolTurn):
            call = calls.get(turn.tool_call_id)
            if call is not None:
                answered[call] = place
        elif isinstance(turn, AssistantTurn) and not isinstance(turn.content, str):
            calls.update((part.id, place) for part in turn.content if isinstance(part, ToolCallPart))
    bound, furthest = [], -1
    for place in range(len(turns)):
        bound.append(furthest)
        furthest = max(furthest, answered[place])
    return bound


def _shortened(turn: ToolTurn) -> tuple[ToolTurn, int]:
    """The result with its long texts cut, and the characters left out."""
    content = turn.content
    if isinstance(content, str):
        shorter = _cut(content)
        return turn.model_copy(update={"content": shorter[0]}), shorter[1]
    parts: list[UserPart] = []
    left_out = 0
    for part in content:
        if isinstance(part, TextPart):
            text, fewer = _cut(part.text)
            left_out += fewer
            parts.append(part.model_copy(update={"text": text}) if fewer else part)
        else:
            parts.append(part)
    return turn.model_copy(update={"content": tuple(parts)}), left_out


def _cut(text: str) -> tuple[str, int]:
    if len(text) <= LONG:
        return text, 0
    left_out = len(text) - HEAD - TAIL
    return f"{text[:HEAD]}\n[{left_out} characters left out]\n{text[-TAIL:]}", left_out


def _losses(room: _Room) -> Iterator[Loss]:
    gone = {place for place, _ in room.gone}
    cut = [each for each in room.cut if each[0] not in gone]
    for place, left_out, saved in cut[:TOLD_APART]:
        detail = (
            f"{left_out} characters of the tool's result left out (about {saved:.0f} tokens) to fit the context window"
        )
        yield Loss(kind="dropped", field=f"messages[{place}].content", detail=detail)
    if len(cut) > TOLD_APART:
        characters, saved = sum(each[1] for each in cut[TOLD_APART:]), sum(each[2] for each in cut[TOLD_APART:])
        detail = (
            f"{characters} characters of {len(cut) - TOLD_APART} further results of tools left out "
            f"(about {saved:.0f} tokens) to fit the context window"
        )
        yield Loss(kind="dropped", field="messages", detail=detail)
    for first, last, number, weight in _ranges(sorted(room.gone)):
        turns = f"{number} turns" if number > 1 else "1 turn"
        field = f"messages[{first}:{last + 1}]" if number > 1 else f"messages[{first}]"
        detail = f"{turns} (about {weight:.0f} tokens) left out to fit the context window"
        yield Loss(kind="dropped", field=field, detail=detail)


def _ranges(gone: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int, int, float]]:
    """First and last place, number and weight of neighbours that went."""
    start = 0
    for at in range(1, len(gone) + 1):
        if at == len(gone) or gone[at][0] != gone[at - 1][0] + 1:
            run = gone[start:at]
            yield run[0][0], run[-1][0], len(run), sum(weight for _, weight in run)
            start = at

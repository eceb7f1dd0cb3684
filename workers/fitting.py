"""Whether a conversation fits its model's context window, seen before the provider is called; else it is made to fit.

What a job pays: nothing where the window is not known; else the estimate from characters, one and a half microseconds
a kilobyte. Only where that comes near the window is the prompt counted with the model's vocabulary, in small pieces
between which other attempts go on. Both ways to count learn from the usage that providers report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from catalogue.tokens import Vocabulary, facts_of
from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation, SystemTurn, Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from workers.dialects import tokens
from workers.dialects.calibration import Calibration
from workers.dialects.port import Target
from workers.dialects.trimming import trimmed
from workers.http import CallFailed
from workers.vocabularies import CHARACTERS, Counter, counter

__all__ = ["Fitted", "Fitting", "overflows"]

NEAR = 0.5
"""Share of the window from which on an estimate is not good enough."""
FAR = 4.0
"""Windows; what is estimated to be longer than so many is not counted: it does not fit."""
USEFUL = 512
"""Tokens an answer must have room for, if it may be that long: else there is no use in asking."""
HARDER = 0.75
"""Part of the window that is left each time the provider refused a conversation that had been made to fit."""
_MAX_MODELS = 1_024


@dataclass(slots=True)
class Fitted:
    """A conversation that fits as far as can be known, what was changed, and how it was counted, to learn by."""

    conversation: Conversation
    losses: tuple[Loss, ...] = ()
    count: float = 0.0
    """As counted, before any correction; 0 where it was not."""
    calibration: Calibration | None = None
    places: Sequence[int] | None = None
    """Where its turns stood before, if some have gone."""

    @property
    def size(self) -> float:
        """Tokens the provider will probably report."""
        return self.count if self.calibration is None else self.calibration.expected(self.count)

    def estimate(self) -> int:
        """Input tokens, for a provider that reports none."""
        return tokens.estimate(self.conversation) if self.calibration is None else max(1, round(self.size))


class Fitting:
    """What a pool has learned of counting, and the look at each conversation before it is sent."""

    def __init__(self, counters: Callable[[Vocabulary], Counter] = counter) -> None:
        self._counters = counters
        self._known: dict[tuple[str, bool, bool], Calibration] = {}

    async def fit(self, conversation: Conversation, target: Target, assignment: Assignment) -> Fitted:
        """The conversation as it is to be sent. Raises CallFailed (``CONTEXT_OVERFLOW``) if it is too long."""
        window = target.model.context_window
        if window is None:
            return Fitted(conversation)
        if assignment.fit == "trim" and assignment.history:
            window = int(window * HARDER ** overflows(assignment))
        calibration = self._calibration(conversation, target, CHARACTERS)
        count = float(tokens.estimate(conversation))
        fitted = Fitted(conversation, (), count, calibration)
        size = calibration.expected(count)
        if size * (1 + calibration.margin) > window * NEAR:
            if size > window * FAR and assignment.fit == "refuse":
                raise CallFailed(_too_long(size, conversation, window, target, trims=False))
            fitted = await self._closely(conversation, target, window, trims=assignment.fit == "trim")
            size = fitted.size
        return _answer_fits(fitted, size, window, target)

    def learn(self, fitted: Fitted, usage: Usage) -> None:
        """The answer to it came, with the provider's own count."""
        if fitted.calibration is not None and usage.reported and not tokens.has_media(fitted.conversation):
            fitted.calibration.see(fitted.count, usage.input)

    def overflowed(self, fitted: Fitted) -> None:
        """The provider refused it as too long."""
        if fitted.calibration is not None:
            fitted.calibration.overflowed()

    async def _closely(self, conversation: Conversation, target: Target, window: int, *, trims: bool) -> Fitted:
        """Counted as exactly as can be, and trimmed or refused if that is too long."""
        by = self._counters(facts_of(target.provider, target.model).vocabulary)
        calibration = self._calibration(conversation, target, by)
        least = _least_answer(conversation, target, window)
        weights, rest = await _weights(conversation, by, enough=FAR * window)
        count = rest + sum(weights)
        size = calibration.expected(count)
        # Refused only if it surely does not fit; trimmed if it probably does not.
        if size * (1.0 if trims else 1.0 - calibration.margin) + least <= window:
            return Fitted(conversation, (), count, calibration)
        for sure in (1 + calibration.margin, 1.0) if trims else ():
            most = calibration.count_for((window - least) / sure)
            cut = trimmed(conversation, weights, rest, most, lambda turn: tokens.of_turn(turn, by.count))
            if cut is not None:
                return Fitted(cut.conversation, cut.losses, cut.count, calibration, cut.places or None)
        raise CallFailed(_too_long(size, conversation, window, target, trims=trims))

    def _calibration(self, conversation: Conversation, target: Target, by: Counter) -> Calibration:
        key = (target.model.name, bool(conversation.tools), by.exact)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_MODELS:
                self._known.clear()
            facts = facts_of(target.provider, target.model)
            found = self._known[key] = Calibration(facts, tools=key[1], margin=by.margin)
        return found


async def _weights(conversation: Conversation, by: Counter, *, enough: float) -> tuple[list[float], float]:
    """Counts of the turns, and of everything else. Others go on between two pieces of text.

    Once the newest turns come to ``enough``, older ones are only estimated: they go in any case.
    """
    turns = conversation.messages
    weights, rest, run = [tokens.of_turn(turn, CHARACTERS.count) for turn in turns], 0.0, 0
    oldest, total = len(turns), 0.0
    while oldest and total < enough:
        oldest -= 1
        total += weights[oldest]
    counted = [place >= oldest or isinstance(turn, SystemTurn) for place, turn in enumerate(turns)]
    weights = [0.0 if exactly else weight for weight, exactly in zip(weights, counted, strict=True)]
    for place, piece in tokens.pieces(conversation):
        if place >= 0 and not counted[place]:
            continue
        if isinstance(piece, str):
            run += len(piece)
            if run > tokens.PIECE:
                run = len(piece)
                await asyncio.sleep(0)
        found = by.count(piece) if isinstance(piece, str) else piece
        if place < 0:
            rest += found
        else:
            weights[place] += found
    return weights, rest


def _least_answer(conversation: Conversation, target: Target, window: int) -> int:
    """Tokens that must be left for the answer."""
    asked = _longest_answer(conversation, target)
    return min(USEFUL, window // 8, USEFUL if asked is None else asked)


def _longest_answer(conversation: Conversation, target: Target) -> int | None:
    """Tokens the answer may have, ``None`` if nobody says."""
    asked, most = conversation.settings.max_tokens, target.model.max_output
    if asked is None or most is None:
        return most if asked is None else asked
    return min(asked, most)


def _answer_fits(fitted: Fitted, size: float, window: int, target: Target) -> Fitted:
    """With a limit to the answer that the window has room for beside the conversation."""
    asked = fitted.conversation.settings.max_tokens
    if asked is None and size <= window * NEAR:
        return fitted  # most providers are sent no limit then
    longest = _longest_answer(fitted.conversation, target)
    margin = 0.0 if fitted.calibration is None else fitted.calibration.margin
    left = max(window - ceil(size * (1 + margin)), _least_answer(fitted.conversation, target, window))
    if longest is None or longest <= left:
        return fitted
    settings = fitted.conversation.settings.model_copy(update={"max_tokens": left})
    fitted.conversation = fitted.conversation.model_copy(update={"settings": settings})
    told = f"{longest} to {left}" if asked is not None else f"{left} (the model's own limit is {longest})"
    detail = f"{told}: the conversation takes about {size:.0f} of the context window's {window} tokens"
    fitted.losses = (*fitted.losses, Loss(kind="clamped", field="settings.max_tokens", detail=detail))
    return fitted


def overflows(assignment: Assignment) -> int:
    """Times this deployment has refused the conversation although it had been made to fit."""
    return sum(
        record.deployment == assignment.deployment
        and record.failure is not None
        and record.failure.kind is FailureKind.CONTEXT_OVERFLOW
        for record in assignment.history
    )


def _too_long(size: float, conversation: Conversation, window: int, target: Target, *, trims: bool) -> Failure:
    asked, least = conversation.settings.max_tokens, _least_answer(conversation, target, window)
    shorter = "shorten it, or let the route trim it (fit: trim), or add"
    if trims:
        shorter = "shorten its instructions, tools or last turns, which are not trimmed, or add"
    return Failure(
        kind=FailureKind.CONTEXT_OVERFLOW,
        message=(
            f"the conversation takes about {size:.0f} tokens, and its answer at least {least}"
            f"{'' if asked is None else f' (asked for: {asked})'}{', trimmed as far as can be' if trims else ''}: "
            f"more than the {window} tokens of the context window of {target.model.name}"
        ),
        field="conversation.messages",
        remedy=f"{shorter} a model with a larger window to the route",
    )

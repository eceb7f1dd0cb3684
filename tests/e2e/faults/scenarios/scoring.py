"""What a client got, judged: a whole answer, an error that says what happened, or a failure of ours."""

from __future__ import annotations

import json
from typing import Literal

from job_contracts.results import Result
from tests.e2e.faults.scenarios.asking import Told
from tests.e2e.faults.scenarios.rows import Row

Score = Literal["answer", "error", "failure"]
LONGEST = 8.0
"""Seconds for one row: two attempts that use up their time, and what lies between them; pauses left out."""
CUT = frozenset({"content_filter", "refusal"})
"""Reasons with which the APIs say that an answer is not whole."""
Said = tuple[str, str]
"""Text and arguments."""


def judged(row: Row, told: Told, result: Result, whole: dict[int, Said]) -> tuple[Score, list[str]]:
    """The score, and what is not as the row says. ``whole``: what each place answers when nothing breaks."""
    wrong = _broken(told, whole)
    score: Score = "failure" if wrong else "answer" if told.done and not _cut(told) else "error"
    if score != row.must:
        wrong.append(f"the client got: {told.error or told}")
    places = {f"{row.name}/m1": 1, f"{row.name}/m2": 2}
    ends = tuple(
        (attempt.failure.kind.value if attempt.failure else "ok", places.get(attempt.deployment, 2))
        for attempt in result.attempts
    )
    if len(ends) != len(row.ends) or any(
        kind not in kinds or at != place for (kind, at), (kinds, place) in zip(ends, row.ends, strict=True)
    ):
        wrong.append(f"attempts ended {ends}")
    if score == "answer" and _form(told.said) != _form(whole[row.ends[-1][1]]):
        wrong.append(f"not what place {row.ends[-1][1]} answers: {told.said} and {whole[row.ends[-1][1]]}")
    return score, wrong


def _cut(told: Told) -> bool:
    return bool(CUT & set(told.reasons))


def _broken(told: Told, whole: dict[int, Said]) -> list[str]:
    """What no client must see, whatever happened."""
    found = []
    if told.seconds > LONGEST:
        found.append(f"took {told.seconds:.1f} s")
    if told.done == bool(told.error):
        found.append("neither a whole answer nor an error, or both")
    if told.after:
        found.append("something after the end")
    if told.done and len(told.reasons) != 1:
        found.append(f"it ends {len(told.reasons)} times")
    begun = any(one[0].startswith(told.text) and one[1].startswith(told.arguments) for one in whole.values())
    if told.done and not _cut(told):
        begun = any(_form(told.said) == _form(one) for one in whole.values())
    if not begun:
        found.append(f"an answer of nobody: {told.said}")
    return found


def _form(said: Said) -> tuple[str, object]:
    """Arguments as what they say: one API writes them out, another one hands them on."""
    return said[0], json.loads(said[1]) if said[1] else None

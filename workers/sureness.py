"""How sure a model is of its answer: by the probabilities of its tokens, or because it was asked. Pure.

What is asked for is a line at the end, so that the answer is written before it is judged; it is no part of the answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from job_contracts.chat import JsonFormat, JsonSchemaFormat, TextPart, UserTurn
from job_contracts.verification import confidence

if TYPE_CHECKING:
    from job_contracts.attempts import Checking
    from job_contracts.chat import Answer, Conversation
    from job_contracts.jobs import Job
    from job_contracts.results import Result

__all__ = ["asked_how_sure", "how_sure", "parted"]

QUESTION = (
    "When your answer is complete, say on one more line, the last one, how sure you are that it is right, from 0 to 1, "
    "in this form: Confidence: 0.8"
)
LONGEST = 200
"""Characters at the end of an answer among which the line is looked for."""
_LINE = re.compile(
    r"(?:^|\s)[*_`(\[]*confidence[*_`]*\s*[:=][\s*_`]*(\d{1,3}(?:\.\d{1,6})?)\s*(%?)[\s*_`)\].]*$", re.IGNORECASE
)


def asked_how_sure(conversation: Conversation, checking: Checking | None) -> Conversation:
    """The conversation with the question how sure the model is, where its answer says so in words."""
    if checking is None or not checking.self_reported or _in_json(conversation):
        return conversation
    turn = UserTurn(role="user", content=QUESTION)
    return conversation.model_copy(update={"messages": (*conversation.messages, turn)})


def how_sure(checking: Checking, job: Job, made: Result) -> tuple[Result, float | None]:
    """The result without what was asked for beside the answer, and how sure its model was, from 0 to 1.

    ``None`` where it does not tell. An answer in JSON that is as it was asked for counts as sure.
    """
    answer = made.answer
    if answer is None or job.conversation is None:
        return made, None
    if not checking.self_reported:
        return made, confidence(answer)
    if _in_json(job.conversation):
        return made, 1.0
    answer, sure = parted(answer)
    return (made if answer is made.answer else made.model_copy(update={"answer": answer})), sure


def parted(answer: Answer) -> tuple[Answer, float | None]:
    """An answer without its last line, and what that says; as it is if there is none, or nothing else."""
    places = [place for place, part in enumerate(answer.parts) if isinstance(part, TextPart) and part.text.strip()]
    last = answer.parts[places[-1]] if places else None
    if not isinstance(last, TextPart):
        return answer, None
    begin = max(0, len(last.text) - LONGEST)
    found = _LINE.search(last.text, begin)
    text = last.text[: found.start()].rstrip() if found is not None else ""
    if found is None or not (text or places[:-1]):
        return answer, None
    told = float(found[1]) / (100 if found[2] or float(found[1]) > 1 else 1)
    parts = [*answer.parts]
    parts[places[-1] : places[-1] + 1] = [last.model_copy(update={"text": text})] if text else []
    made = answer.model_copy(update={"parts": tuple(parts)})
    return _without_its_tokens(made), told if told <= 1 else None


def _without_its_tokens(answer: Answer) -> Answer:
    """Probabilities are told of the tokens of what is left."""
    left, kept = len(answer.text), 0
    for token in answer.logprobs:
        if left <= 0:
            break
        left -= len(token.token)
        kept += 1
    return answer if kept == len(answer.logprobs) else answer.model_copy(update={"logprobs": answer.logprobs[:kept]})


def _in_json(conversation: Conversation) -> bool:
    return isinstance(conversation.settings.response_format, JsonSchemaFormat | JsonFormat)

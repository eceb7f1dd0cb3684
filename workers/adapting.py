"""What a route's rules change in a conversation before it goes to another deployment."""

from __future__ import annotations

from job_contracts.attempts import Adaptation
from job_contracts.chat import Conversation, SystemTurn
from job_contracts.results import Loss

__all__ = ["adapted"]


def adapted(conversation: Conversation, adaptation: Adaptation | None) -> tuple[Conversation, tuple[Loss, ...]]:
    """The conversation with its instructions replaced or extended, and what was changed, for the attempt's record."""
    if adaptation is None or (adaptation.system_replace is None and adaptation.system_append is None):
        return conversation, ()
    turns, losses = conversation.messages, []
    if adaptation.system_replace is not None:
        replaced = sum(isinstance(turn, SystemTurn) for turn in turns)
        turns = (
            SystemTurn(role="system", content=adaptation.system_replace),
            *(turn for turn in turns if not isinstance(turn, SystemTurn)),
        )
        detail = f"the route's rule replaced {replaced} instruction turns"
        losses.append(Loss(kind="rewritten", field="messages", detail=detail))
    if adaptation.system_append is not None:
        # After the last of the leading instructions: models read later instructions as the stronger ones.
        place = next((at for at, turn in enumerate(turns) if not isinstance(turn, SystemTurn)), len(turns))
        turns = (*turns[:place], SystemTurn(role="system", content=adaptation.system_append), *turns[place:])
        detail = "the route's rule appended instructions"
        losses.append(Loss(kind="rewritten", field="messages", detail=detail))
    return conversation.model_copy(update={"messages": turns}), tuple(losses)

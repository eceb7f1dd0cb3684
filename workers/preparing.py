"""The way from a job to the question that its target is asked: adapted, gone on with, bounded, fitted, encoded.

Images are fetched and converted on it, the prompt is counted. That may outlast the grant; then it is kept for the job's
next attempt (``prepared``). The job's deadline bounds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Failure
from workers.adapting import adapted
from workers.answers.expected import reminded
from workers.bounding import bounded
from workers.fitting import Fitted, overflows
from workers.http import CallFailed
from workers.places import Places, places, put_back
from workers.prepared import Ready
from workers.questions import Question, of_conversation, of_texts
from workers.sureness import asked_how_sure

if TYPE_CHECKING:
    from job_contracts.attempts import Assignment
    from job_contracts.chat import Conversation
    from job_contracts.jobs import Job
    from job_contracts.results import Loss
    from workers.continuing import Carried
    from workers.dialects.port import Target
    from workers.endpoint import Endpoint
    from workers.interrupting import Interrupting

__all__ = ["Preparing"]


class Preparing:
    """One attempt's: what has come of it so far, also if it was interrupted."""

    __slots__ = ("_assignment", "_endpoint", "_interrupting", "_places", "carried", "fitted", "losses", "target")

    def __init__(self, endpoint: Endpoint, assignment: Assignment, interrupting: Interrupting) -> None:
        self._endpoint, self._assignment, self._interrupting = endpoint, assignment, interrupting
        self._places: Places | None = None
        self.target: Target | None = None
        """Who is asked."""
        self.fitted: Fitted | None = None
        """What it is asked, of a chat job, in a form and a length that it takes."""
        self.carried: Carried | None = None
        """The answer of an attempt before, if this one goes on with it."""
        self.losses: tuple[Loss, ...] = ()
        """What could not be kept of the job, at the places of the job's own."""

    async def question(self, job: Job) -> Question:
        """The request, whatever kind of job it is. Raises CallFailed if this target cannot be asked it; Interrupted."""
        endpoint, assignment = self._endpoint, self._assignment
        if job.embedding is not None:  # never streamed: there is nothing to see of vectors that are half done
            target = self.target = endpoint.target(assignment.model, stream=False)
            asked = of_texts(job.embedding, target)
            if isinstance(asked, Failure):
                raise CallFailed(asked)
            self.losses = asked.encoded.losses
            return asked
        kept = endpoint.prepared.take(assignment, endpoint.clock.monotonic(), overflows=overflows(assignment))
        if kept is not None:
            self.target, self.fitted, self.losses = kept.target, kept.fitted, kept.losses
            self.carried = kept.carried
            return kept.question
        conversation, self.losses = adapted(job.chat, assignment.adaptation)
        conversation = asked_how_sure(reminded(conversation, assignment), assignment.checking)
        target = self.target = endpoint.target(assignment.model, stream=assignment.stream)
        if assignment.continues is not None and endpoint.sent is not None:
            going_on = endpoint.sent.begun(assignment, conversation, target)
            conversation, self.carried, clamped = await self._interrupting.within(going_on)
            self.losses += clamped
        if conversation is not job.chat:
            self._places = places(job.chat.messages, conversation.messages)
        held = bounded(conversation, assignment.grant.max_output, target)
        if isinstance(held, Failure):
            raise CallFailed(held)
        conversation = held[0]
        self.losses += held[1]
        watch = self._interrupting.at_deadline()
        try:
            fitted = self.fitted = await self._interrupting.within(self._fit(conversation, target))
        finally:
            if watch is not None:
                watch.stop()
        question = of_conversation(fitted.conversation, target, endpoint.dialect(target), estimate=fitted.estimate)
        encoded = question.encoded.losses if fitted.places is None else put_back(question.encoded.losses, fitted.places)
        self.losses += self._told((*fitted.losses, *encoded))
        return question if self.carried is None else self.carried.read_as_one(question)

    def keep(self, question: Question) -> None:
        """All of it was for nothing, but for the next attempt."""
        endpoint, assignment = self._endpoint, self._assignment
        if self.target is not None and self.fitted is not None:
            ready = Ready(question, self.target, self.fitted, self.losses, self.carried)
            endpoint.prepared.keep(assignment, ready, endpoint.clock.monotonic(), overflows=overflows(assignment))

    async def _fit(self, conversation: Conversation, target: Target) -> Fitted:
        """The conversation in a form and a length that the target takes. Raises CallFailed if there is none."""
        conversation, converted = await self._endpoint.images.prepared(conversation, target)
        self.losses += self._told(converted)
        return await self._endpoint.fitting.fit(conversation, target, self._assignment)

    def _told(self, losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
        """Losses of the conversation that the route has changed, at the places of the job's own."""
        return losses if self._places is None else put_back(losses, self._places)

"""Failed attempts and cancels become facts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.codec import ContractError, decode
from job_contracts.jobs import Cancel
from scheduler.policy.facts import AttemptEnded, CancelAsked, InFlight, LimitsRead

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.bus.port import Message
    from runtime.clock import Clock
    from scheduler.background import Background
    from scheduler.endings import Endings
    from scheduler.lifeline import Lifeline
    from scheduler.policy.board import Board
    from scheduler.submissions import Submissions

log = logging.getLogger(__name__)


class Outcomes:
    """Reads OUT and CTL; during recovery outcomes are kept until their submissions have been read."""

    def __init__(
        self,
        *,
        shard: int,
        clock: Clock,
        board: Board,
        submissions: Submissions,
        lifeline: Lifeline,
        endings: Endings,
        background: Background,
        changed: Callable[[], None],
    ) -> None:
        self._out = subjects.stream_name(subjects.OUT, shard)
        self._clock = clock
        self._board = board
        self._submissions = submissions
        self._lifeline = lifeline
        self._endings = endings
        self._background = background
        self._changed = changed
        self._early: list[tuple[int, Outcome]] | None = []

    def on_outcome(self, message: Message) -> None:
        """How an attempt ended."""
        if message.subject.startswith(f"{subjects.PREFIX}.out_barrier."):
            return
        try:
            outcome = decode(Outcome, message.data)
        except ContractError as error:
            self._set_aside(message, self._out, error)
            return
        if self._early is not None:
            self._early.append((message.seq, outcome))
        else:
            self._apply(message.seq, outcome)

    def replay(self) -> None:
        """All submissions are known: apply the outcomes that came before, each after the attempt it belongs to."""
        early, self._early = self._early or [], None
        for seq, outcome in early:
            entry = self._submissions.entries.get((outcome.project, outcome.job_id))
            if entry is None:
                continue
            now = self._clock.monotonic()
            record = outcome.record
            self._board.apply(
                InFlight(
                    project=outcome.project,
                    job=outcome.job_id,
                    attempt=record.number,
                    deployment=record.deployment,
                    input_tokens=0,
                    output_tokens=0,
                    history=outcome.history,
                ),
                now,
            )
            self._apply(seq, outcome)

    def on_cancel(self, message: Message) -> None:
        """A producer's wish to stop."""
        if message.subject.startswith(f"{subjects.PREFIX}.ctl_barrier."):
            return
        try:
            project, job = subjects.project_and_job(message.subject)
            cancel = decode(Cancel, message.data)
        except (ContractError, ValueError) as error:
            self._set_aside(message, subjects.CTL, error)
            return
        asked = CancelAsked(project=project, job=job, token=cancel.token, reason=cancel.reason[:500])
        self._board.apply(asked, self._clock.monotonic())
        self._changed()

    def _apply(self, seq: int, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        entry = self._submissions.entries.get((outcome.project, outcome.job_id))
        if entry is not None:
            entry.outcome_seq = seq
        self._lifeline.ended(outcome.project, outcome.job_id, outcome.record.number)
        if outcome.limits:
            self._board.apply(LimitsRead(outcome.record.deployment, outcome.limits), now)
        self._board.apply(
            AttemptEnded(
                project=outcome.project,
                job=outcome.job_id,
                attempt=outcome.record.number,
                deployment=outcome.record.deployment,
                failure=outcome.failure,
                record=outcome.record,
                called=outcome.called,
            ),
            now,
        )
        self._changed()

    def _set_aside(self, message: Message, stream: str, error: Exception) -> None:
        log.warning("outcomes.unreadable", extra={"stream": stream, "seq": message.seq})
        self._background.start(self._endings.set_aside(message, stream, "unreadable", str(error)))

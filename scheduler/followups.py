"""Submits what follows a job that has its answer, before that job's submission goes from its stream.

The submission of a job that something is to follow stays where it is after the job has ended, and the settled cursor
before its result: so whoever leads next reads both again, decides the same, and submits the same under the same id,
which the broker refuses, or the dispatcher finds to have ended. Only then may the submission go. Whatever keeps a
follow-up from being submitted costs the follow-up, never the job, and never its users' room in the queue.

A judge's own job is followed in the same way, by the score that it gave: it is stored beside the result of the job
that was judged, once, before the judge's submission goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json, to_jsonable_python

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.experiments import Metric
from job_contracts.followups import OF_JOB, follow_up, follows, kind_of
from job_contracts.jobs import Job, JobState, Ticket
from job_contracts.results import Result, Settlement
from job_contracts.scoring import scored, scoring
from job_contracts.trials import GivenScore
from job_contracts.verification import confidence, ticket_of, verifiable, verification
from runtime.bus.port import AlreadyStored, BusError, NotFound, StreamFull, TooLarge, WrongSequence
from runtime.telemetry import INFO, WARNING
from scheduler.background import Background
from scheduler.policy.followups import Followed, followed_by, fraction, judged_by, judging
from scheduler.trial_desk import give

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from job_contracts.chat import Answer, Conversation
    from job_contracts.experiments import Experiment, Judge
    from job_contracts.jobs import BlobRef
    from runtime.bus.port import Message
    from scheduler.entries import Entry, JobKey
    from scheduler.policy.followups import FollowRule
    from scheduler.term import Term

AT_ONCE = 16
"""Follow-ups submitted at the same time: their bodies are read for it."""
MOST = 10_000
"""Jobs whose follow-ups wait to be submitted; what ends beyond that is followed by nothing."""
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 5.0, 5.0, 5.0)
"""Seconds between two tries; after the last one a follow-up is given up, so that no submission lies there for ever."""
MAX_MESSAGE = 480 * 1024
"""Bytes of a body that travels in its submission; a larger one goes as a blob."""
HEADER_ROOM = 8 * 1024


class FollowUps:
    """What is to follow the jobs of one term, and the errands that submit it."""

    def __init__(self, term: Term) -> None:
        self._term = term
        rules = ((name, followed_by(route)) for name, route in term.config.routes.items())
        self._rules: dict[str, Followed] = {name: rule for name, rule in rules if rule is not None}
        self._experiments: Mapping[str, Experiment] = {}
        self._judges: dict[str, Judge] = {}
        self._errands = Background(term.telemetry, limit=AT_ONCE)
        self._pending: dict[int, tuple[JobKey, BlobRef | None]] = {}
        """By sequence of their submissions: jobs that have ended, and are not followed yet."""
        self._leads = False

    def due(self, job: str, ticket: Ticket) -> bool:
        """Whether anything is to follow a job, should it get an answer."""
        if follows(job):
            return kind_of(job) == "judge"
        followed, judge = self._rules.get(ticket.route), self._wanted().get(ticket.route)
        judged = judge is not None and fraction("judge", job, ticket.token) < judge.share
        return judged or (followed is not None and bool(followed.due(job, ticket.token)))

    def _wanted(self) -> dict[str, Judge]:
        """Who scores answers of routes under experiment, as the configuration says it now: a standby knows no more."""
        wanted = self._term.wanted()
        if wanted is not self._experiments:
            self._experiments, self._judges = wanted, judged_by(wanted)
        return self._judges

    def settled(self, key: JobKey, entry: Entry) -> None:
        """A job that something is to follow has its result."""
        self._add(entry.seq, key, entry.blob)

    def found(self, message: Message, key: JobKey) -> bool:
        """A submission is read whose job is known to have ended: whether it has to stay, for what is to follow it."""
        if not self._rules and not self._wanted() and not follows(key[1]):
            return False
        try:
            ticket = decode(Ticket, (message.headers or {}).get(subjects.H_TICKET, ""))
        except ContractError:
            return False
        if not self.due(key[1], ticket):
            return False
        self._term.submissions.hold(message.seq, key)
        self._add(message.seq, key, ticket.blob)
        return True

    def forget(self, first: int, gone: Collection[int]) -> None:
        """The leader there is has dealt with everything below ``first``, and with what is ``gone`` from above it."""
        for seq in [*gone, *(seq for seq in self._pending if seq < first)]:
            self._pending.pop(seq, None)

    def take_over(self) -> None:
        """This process leads now, and everything stored before has been read."""
        self._leads = True
        for seq in self._pending:
            self._errands.start(self._follow(seq))

    async def stop(self) -> None:
        """Stop trying; the next leader finds what is not done."""
        await self._errands.stop()

    def _add(self, seq: int, key: JobKey, blob: BlobRef | None) -> None:
        if seq in self._pending:
            return
        self._pending[seq] = key, blob
        if self._leads:
            self._errands.start(self._follow(seq))

    async def _follow(self, seq: int) -> None:
        key, blob = self._pending[seq]
        try:
            if len(self._pending) > MOST:
                self._skipped("busy")
            else:
                await self._until_submitted(seq, key)
        except Exception as error:  # noqa: BLE001 - a bug must cost the follow-up, and not keep the submission for ever
            self._term.telemetry.emit("followup.failed", WARNING, job_id=key[1], error=type(error).__name__)
            self._skipped("failed")
        if blob is not None:
            self._term.background.start(self._term.bus.delete_blob(f"{key[0]}.{key[1]}", of="job"))
        self._pending.pop(seq, None)
        self._term.submissions.done(seq, self._term.clock.monotonic())

    async def _until_submitted(self, seq: int, key: JobKey) -> None:
        for pause in PAUSES:
            try:
                await self._submit_all(seq, key)
            except NotFound:
                self._skipped("gone")  # removed by the leader before, which had followed it
                return
            except (StreamFull, TooLarge) as error:
                self._skipped("full" if isinstance(error, StreamFull) else "too_large")
                return
            except BusError as error:
                self._term.telemetry.emit("followup.retried", INFO, job_id=key[1], error=type(error).__name__)
                await asyncio.sleep(pause)
            else:
                return
        self._skipped("broker")

    def _skipped(self, reason: str) -> None:
        self._term.telemetry.emit("followup.skipped", INFO, reason=reason)

    async def _submit_all(self, seq: int, key: JobKey) -> None:
        """Raises BusError when it is not certain that everything is submitted."""
        term, (project, job) = self._term, key
        result = await term.bus.last(subjects.RES, subjects.result(project, job))
        submission = await term.bus.get(term.stream(subjects.SUBMIT), seq)
        try:
            settlement = decode(Settlement, (result.headers or {}).get(subjects.H_SETTLEMENT, ""))
            ticket = decode(Ticket, (submission.headers or {}).get(subjects.H_TICKET, ""))
        except ContractError:
            return
        if settlement.state is not JobState.SUCCEEDED or settlement.token != ticket.token:
            return  # nothing to compare with, or the result of an earlier submission under the same key
        body = submission.data
        if ticket.blob is not None:
            body = await term.bus.get_blob(f"{project}.{job}", ticket.blob, of="job")
        try:
            decode(Job, body)
        except ContractError:
            return
        if follows(job):
            await self._score(project, job, ticket, result)
            return
        for rule in self._due(job, ticket, settlement):
            if term.board.following(project) >= rule.most:
                self._skipped("many")
                continue
            fields = from_json(body)  # as it was written: fields of a newer version stay in it
            if rule.kind == "shadow":
                await self._submit(submission, job, ticket, fields, rule)
            else:
                await self._ask(submission, job, ticket, fields, rule, result)

    def _due(self, job: str, ticket: Ticket, settlement: Settlement) -> list[FollowRule]:
        """What may have to follow a job that has its answer; a judge scores what counts for an arm, and no other."""
        followed, trial = self._rules.get(ticket.route), settlement.trial
        due = [] if followed is None else list(followed.due(job, ticket.token))
        judge = None if trial is None else self._term.board.judge(trial.experiment)
        if judge is not None and fraction("judge", job, ticket.token) < judge.share:
            due.append(judging(judge))
        return due

    async def _ask(  # noqa: PLR0917 - all there is to know of a job that has ended
        self, submission: Message, job: str, ticket: Ticket, fields: dict[str, Any], rule: FollowRule, record: Message
    ) -> None:
        """Ask about the answer, if there is anything to ask about and reason to."""
        project, _ = subjects.project_and_job(submission.subject)
        try:
            result = await self._whole(project, job, record)
            asked = decode(Job, to_json(fields))
        except ContractError:
            return
        answer = result.answer
        if answer is None or asked.conversation is None or not verifiable(answer):
            return
        if not rule.wants(job, ticket.token, confidence(answer)):
            return
        wording: Callable[[Conversation, Answer], Conversation] = scoring if rule.kind == "judge" else verification
        question = to_jsonable_python(wording(asked.conversation, answer), exclude_none=True)
        fields = {**fields, "conversation": question}
        await self._submit(submission, job, ticket_of(ticket, result.usage.output), fields, rule, result.deployment)

    async def _score(self, project: str, job: str, ticket: Ticket, record: Message) -> None:
        """Store what a judge said, beside the result of the job it was asked about. Raises BusError."""
        term, of = self._term, ticket.tags.get(OF_JOB, "")
        try:
            answer = (await self._whole(project, job, record)).answer
            found = await term.bus.last(subjects.RES, subjects.result(project, subjects.check_job_id(of)))
            judged = decode(Settlement, (found.headers or {}).get(subjects.H_SETTLEMENT, ""))
        except ContractError:
            return
        said = None if answer is None else scored(answer.text)
        if said is None:
            self._skipped("unread")
            return
        if judged.trial is None or subjects.follow_up_job_id("judge", of, judged.token) != job:
            return  # the result of a later submission under the same key
        given = GivenScore(metric=Metric.JUDGE, score=said, trial=judged.trial)
        if await give(term.bus, project, of, given, ttl=term.config.nats.result_ttl):
            term.telemetry.emit("followup.scored", experiment=judged.trial.experiment, arm=judged.trial.arm)

    async def _whole(self, project: str, job: str, record: Message) -> Result:
        """A result, wherever it lies. Raises BusError, ContractError."""
        result = decode(Result, record.data)
        if result.blob is None:
            return result
        return decode(Result, await self._term.bus.get_blob(f"{project}.{job}", result.blob, of="result"))

    async def _submit(  # noqa: PLR0917 - as above
        self,
        submission: Message,
        job: str,
        ticket: Ticket,
        fields: dict[str, Any],
        rule: FollowRule,
        draft: str | None = None,
    ) -> None:
        """Return when it is durable, or was before. Raises BusError."""
        term = self._term
        project, _ = subjects.project_and_job(submission.subject)
        traced = term.tracing.following(submission.headers or {}, (project, job), ticket.token)
        now = term.clock.wall()
        name, data, own = follow_up(
            rule.kind, job, ticket, fields, route=rule.to, now=now, within=rule.within, draft=draft
        )
        try:
            if len(data) > min(MAX_MESSAGE, term.bus.max_payload - HEADER_ROOM):
                ref = await term.bus.put_blob(f"{project}.{name}", data, of="job")
                data, own = b"", own.model_copy(update={"blob": ref})
            headers = {subjects.H_TICKET: encode(own).decode(), **traced}
            await term.bus.append(subjects.submit(project, name), data, headers=headers, expect_last=0)
        except (WrongSequence, AlreadyStored):
            return  # a leader before has done it
        term.telemetry.emit("followup.submitted", kind=rule.kind, route=ticket.route)

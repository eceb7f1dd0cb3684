"""Every subject, stream, header and id of the wire, in one place.

A job id is two subject tokens joined by a dash, ``stem-leaf``: the stem is the producer's own (random per producer, or
``key`` for ids made from an idempotency key), so one subscription to ``live.<project>.<stem>.>`` hears all its jobs and
nobody else's. A project is one token. Model names never appear in a subject.
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import quote

from job_contracts.codec import ContractError

PREFIX = "penstock"
PUBLIC = f"{PREFIX}.v1"
"""What producers may name; everything else is internal."""
WAYS_IN = ("submit", "cancel", "blob", "api")
"""What a producer may publish to, below ``penstock.v1.<way>.<its project>``."""
IMPORTED_REPLY = "_R_."
"""How the broker itself names the way back of a request that came from the producers' account."""

SUBMIT, WORK, RES, OUT, TOK, CTL, LEDGER, DEAD, BLOB, KEYS, FILES, BATCHES, CONV, SPENT, AUDIT = (
    "SUBMIT",
    "WORK",
    "RES",
    "OUT",
    "TOK",
    "CTL",
    "LEDGER",
    "DEAD",
    "BLOB",
    "KEYS",
    "FILES",
    "BATCHES",
    "CONV",
    "SPENT",
    "AUDIT",
)
"""Stream names; WORK, OUT and SUBMIT are per shard, see ``stream_name``."""

H_TICKET = "Penstock-Ticket"
"""On SUBMIT: what the scheduler needs to know without the body (jobs.Ticket)."""
H_SETTLEMENT = "Penstock-Settlement"
"""On RES: what the scheduler needs to settle without the body (results.Settlement)."""
H_SCORE = "Penstock-Score"
"""On RES, beside a result: what was said of its answer (trials.GivenScore)."""
H_PIECES = "Penstock-Pieces"
"""On CONV: where the rest lies of a conversation that was too large for one message (jobs.BlobRef)."""
H_TRACE = "traceparent"
H_STATE = "tracestate"

_TOKEN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
JOB_ID = "^[A-Za-z0-9_]{1,32}-[A-Za-z0-9_]{1,32}$"
"""What a job id looks like, for schemas."""
_JOB = re.compile(JOB_ID)
_RANDOM_JOB = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")
KEYED_STEM = "key"
REPLAY_STEM = "replay"
FOLLOW_UP_STEMS = ("shadow", "verify", "judge")
"""Of the jobs that the leader submits itself, after another job has ended; no producer may submit under them."""


def stream_name(stream: str, shard: int = 0) -> str:
    """Name of a per-shard stream: ``WORK_0``."""
    return f"{stream}_{shard}"


def check_token(token: str, what: str) -> str:
    """``token`` if it may stand in a subject. Raises ContractError otherwise."""
    if _TOKEN.fullmatch(token) is None:
        message = f"{what} {token!r} may hold only letters, digits, _ and -, at most 64 of them, the first not a -"
        raise ContractError(message, field=what, remedy=f"choose another {what}")
    return token


def check_job_id(job_id: str) -> str:
    """``job_id`` if it is one (``stem-leaf``). Raises ContractError otherwise."""
    if _JOB.fullmatch(job_id) is None:
        message = f"{job_id!r} is not a job id (two groups of letters, digits and _ joined by one dash)"
        raise ContractError(message, field="job", remedy="use the id that submit returned")
    return job_id


def keyed_job_id(idempotency_key: str) -> str:
    """The job id of an idempotency key: the same key always names the same job of a project. Raises ContractError."""
    try:
        key = idempotency_key.encode()
    except UnicodeEncodeError as error:
        message = "the idempotency key is not text that can be written as UTF-8"
        raise ContractError(message, field="idempotency_key", remedy="choose a key without lone surrogates") from error
    return f"{KEYED_STEM}-{sha256(key).hexdigest()[:32]}"


def replay_job_id(job_id: str, token: str) -> str:
    """The job id of a dead letter's replay: made of the submission it is about, so it is the same every time."""
    return f"{REPLAY_STEM}-{sha256(f'{job_id} {token}'.encode('utf-8', 'replace')).hexdigest()[:32]}"


def follow_up_job_id(stem: str, job_id: str, token: str) -> str:
    """The job id of what follows a job: made of its submission, so that every leader submits it under the same one."""
    return f"{stem}-{sha256(f'{job_id} {token}'.encode('utf-8', 'replace')).hexdigest()[:32]}"


def names_one_submission(job_id: str) -> bool:
    """Whether an id has the random form, 16 hexadecimal digits on either side: it is submitted again only with the very
    same bytes, within seconds. Any other id may come again at any time, like an idempotency key.
    """
    return _RANDOM_JOB.fullmatch(job_id) is not None


def _job_tokens(job_id: str) -> str:
    stem, _, leaf = job_id.partition("-")
    return f"{stem}.{leaf}"


def submit(project: str, job_id: str) -> str:
    """Where a producer publishes a job."""
    return f"{PUBLIC}.submit.{project}.{_job_tokens(job_id)}"


def cancel(project: str, job_id: str) -> str:
    """Where a producer publishes a cancel."""
    return f"{PUBLIC}.cancel.{project}.{_job_tokens(job_id)}"


def blob(project: str, job_id: str, index: int) -> str:
    """Where a producer publishes chunk ``index`` of a job body that is too large for one message."""
    return f"{PUBLIC}.blob.{project}.{_job_tokens(job_id)}.{index}"


def api(project: str, operation: str) -> str:
    """Where a producer asks the scheduler's desk."""
    return f"{PUBLIC}.api.{project}.{operation}"


def live(project: str, stem: str) -> str:
    """What a producer subscribes to: tokens and results of all jobs with that stem."""
    return f"{PUBLIC}.live.{project}.{stem}.>"


def live_job(project: str, job_id: str) -> str:
    """Tokens and result of one job: ``….tok`` and ``….res``."""
    return f"{PUBLIC}.live.{project}.{_job_tokens(job_id)}.*"


def live_result(project: str, job_id: str) -> str:
    """Where a job's result is republished."""
    return f"{PUBLIC}.live.{project}.{_job_tokens(job_id)}.res"


def inbox_prefix(project: str) -> str:
    """Reply inboxes of a project's producers start with this; the desk answers nowhere else."""
    return f"_INBOX_{project}"


def queued(shard: int, project: str, job_id: str) -> str:
    """A submission as it is stored (the broker rewrites ``submit`` to it)."""
    return f"{PREFIX}.q.{shard}.{project}.{_job_tokens(job_id)}"


def work(shard: int, pool: str, project: str, job_id: str) -> str:
    """An assignment on its way to a pool; the attempt is in the message, so a rescue replaces it in place."""
    return f"{PREFIX}.work.{shard}.{pool}.{project}.{_job_tokens(job_id)}"


def work_of_pool(shard: int, pool: str) -> str:
    """Everything a pool's consumer is handed."""
    return f"{PREFIX}.work.{shard}.{pool}.>"


def lease(shard: int) -> str:
    """The leader's record, in the WORK stream."""
    return f"{PREFIX}.lease.{shard}"


def result(project: str, job_id: str) -> str:
    """A job's one terminal record."""
    return f"{PREFIX}.res.{project}.{_job_tokens(job_id)}"


def score(project: str, job_id: str, metric: str) -> str:
    """What was said of a job's answer by one metric of experiments, beside its result."""
    return f"{PREFIX}.score.{project}.{_job_tokens(job_id)}.{metric}"


def result_blob(project: str, job_id: str, index: int, digest: str = "") -> str:
    """Chunk ``index`` of a result too large for one message; the ``digest`` of the whole keeps attempts apart."""
    name = f"{digest[:16]}-{index}" if digest else str(index)
    return f"{PREFIX}.blob.{project}.{_job_tokens(job_id)}.{name}"


def outcome(shard: int, project: str, job_id: str, *, hedge: bool = False) -> str:
    """How the last attempt of a job ended, when it did not end the job; ``hedge``: the last that ran beside another."""
    beside = "hedge." if hedge else ""
    return f"{PREFIX}.out.{shard}.{beside}{project}.{_job_tokens(job_id)}"


def tokens(project: str, job_id: str) -> str:
    """A job's streamed chunks."""
    return f"{PREFIX}.tok.{project}.{_job_tokens(job_id)}"


def usage(pool: str, worker: str) -> str:
    """Where a worker tells the ledger what its attempts cost (facts.Facts)."""
    return f"{PREFIX}.usage.{pool}.{worker}"


def spent(shard: int) -> str:
    """What had been spent in each window up to a place in LEDGER (spending.Spent), in the SPENT stream."""
    return f"{PREFIX}.spent.{shard}"


def trials(shard: int) -> str:
    """How experiments stand, up to a place in RES (scheduler.trials), in the SPENT stream."""
    return f"{PREFIX}.spent.trials_{shard}"


def order(shard: int, aim: str, name: str) -> str:
    """What operators ordered of a pool, a deployment, a limit or a weight (operating.Audited), in the AUDIT stream."""
    return f"{PREFIX}.order.{shard}.{aim}.{_quoted(name)}"


def orders(shard: int) -> str:
    """All of them."""
    return f"{PREFIX}.order.{shard}.*.*"


def note(kind: str) -> str:
    """What else was done to things of a kind (operating.Audited), in the AUDIT stream."""
    return f"{PREFIX}.note.{kind}"


def _quoted(name: str) -> str:
    """Any name as one token of a subject."""
    return quote(name, safe="/:@+").replace(".", "%2E")


def ledger_desk(operation: str) -> str:
    """Where services ask the ledger (core request)."""
    return f"{PREFIX}.ledger.{operation}"


def dead(project: str, job_id: str) -> str:
    """A job, or a message that could not be read, set aside with the reason."""
    return f"{PREFIX}.dead.{project}.{_job_tokens(job_id)}"


def letters_of(project: str) -> str:
    """All dead letters of a project, without their bodies; of ``-`` those that belong to none."""
    return f"{PREFIX}.dead.{project}.*.*"


def letter_body(project: str, job_id: str, digest: str, index: int) -> str:
    """Piece ``index`` of the body beside a dead letter; the ``digest`` of the whole keeps bodies apart."""
    return f"{dead(project, job_id)}.{digest[:16]}.{index}"


def file(project: str, file: str) -> str:
    """The head of an uploaded file: there is such a file while this is there."""
    return f"{PREFIX}.file.{project}.{file}"


def file_chunk(project: str, file: str, index: int | str) -> str:
    """Chunk ``index`` of a file's content; ``*`` for all of them."""
    return f"{PREFIX}.file_chunk.{project}.{file}.{index}"


def batch(project: str, batch: str) -> str:
    """The record of a batch of requests."""
    return f"{PREFIX}.batch.{project}.{batch}"


def batch_line(project: str, batch: str, number: int | str) -> str:
    """The one output line of input line ``number`` of a batch; ``*`` for all of them."""
    return f"{PREFIX}.batch_line.{project}.{batch}.{number}"


def batch_sent(pool: str, key: str) -> str:
    """The note of a batch that a pool's worker has made, or is about to make, at its provider; ``*`` for all."""
    return f"{PREFIX}.batch_sent.{check_token(pool, 'pool')}.{key}"


def batch_part(project: str, batch: str, number: int | str, digest: str = "", index: int = 0) -> str:
    """Piece ``index`` of an output line too large for one message, named by the ``digest`` of the whole."""
    name = f"{digest[:16]}-{index}" if digest else "*"
    return f"{PREFIX}.batch_part.{project}.{batch}.{number}.{name}"


def conversation(project: str, job_id: str) -> str:
    """What the HTTP edge keeps of a response beside its result: what was asked, and what went before."""
    return f"{PREFIX}.conv.{project}.{_job_tokens(job_id)}"


def conversation_piece(project: str, job_id: str, digest: str, index: int) -> str:
    """Piece ``index`` of one that was too large for a message; the ``digest`` of the whole keeps writers apart."""
    return f"{conversation(project, job_id)}.{digest[:16]}-{index}"


def unreadable(stream: str, seq: int) -> str:
    """A message that could not even be attributed to a job, set aside."""
    return f"{PREFIX}.dead.-.{stream}.{seq}"


def barrier(stream: str, shard: int) -> str:
    """A mark a leader writes before it believes that something is absent from ``stream``."""
    return f"{PREFIX}.{stream.lower()}_barrier.{shard}"


def handed_over(shard: int) -> str:
    """A hint to those who stand by that the lease is free (core message, empty); the record itself decides."""
    return f"{PREFIX}.handed_over.{shard}"


def standing_by(shard: int) -> str:
    """Where those who stand by are asked whether they are there (core request, empty, or ``{}`` for more than a name);
    who leads keeps silent.
    """
    return f"{PREFIX}.standing_by.{shard}"


def scaling(shard: int) -> str:
    """How many workers each pool should have, told by the leader (core message, scaling.Scales)."""
    return f"{PREFIX}.scaling.{shard}"


def heartbeat(pool: str, worker: str) -> str:
    """A worker's sign of life (core message, attempts.Heartbeat)."""
    return f"{PREFIX}.beat.{pool}.{worker}"


def abort(pool: str) -> str:
    """Attempts a pool's workers must stop at once (core message, attempts.Abort)."""
    return f"{PREFIX}.abort.{pool}"


def awaited(project: str, job_id: str) -> str:
    """Where an edge asks the others whether a client of theirs waits for a job (core request, empty; no is silence)."""
    return f"{PREFIX}.edge.awaited.{project}.{_job_tokens(job_id)}"


def awaited_any() -> str:
    """Every such question."""
    return f"{PREFIX}.edge.awaited.>"


def key_record(key_id: str) -> str:
    """What is known of a virtual key (keys.KeyRecord), in the KEYS stream."""
    return f"{PREFIX}.keys.{key_id}"


def key_desk(operation: str) -> str:
    """Where operators ask the edges about keys (core request, key_asking); no project may publish there."""
    return f"{PREFIX}.key_desk.{operation}"


def edges() -> str:
    """Where edges tell each other that they are there (core message, keys.EdgeBeat)."""
    return f"{PREFIX}.edges"


def project_and_job(subject: str) -> tuple[str, str]:
    """Project and job id of any stored subject that ends in ``project.stem.leaf``."""
    project, stem, leaf = subject.rsplit(".", 3)[1:]
    return project, f"{stem}-{leaf}"

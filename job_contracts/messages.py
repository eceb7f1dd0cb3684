"""The messages that travel on their own, by the name of their JSON Schema (``schema/<name>.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from job_contracts.attempts import Abort, Assignment, Heartbeat, HeartbeatReply, Outcome
from job_contracts.codec import Wire
from job_contracts.dead import (
    AskCauses,
    AskDeadLetter,
    AskDeadLetters,
    AskHandle,
    Causes,
    DeadLetters,
    FoundDead,
    HandledUpTo,
)
from job_contracts.desk import (
    AskBlob,
    AskChunks,
    AskEstimates,
    AskJobs,
    Chunks,
    Estimates,
    Hello,
    Refusal,
    Results,
    Statuses,
)
from job_contracts.facts import Facts
from job_contracts.finding import AskCancels, AskFind, AskJob, Cancels, FoundJob, JobPage
from job_contracts.jobs import Cancel, Job, JobStatus, Ticket
from job_contracts.key_asking import (
    AskKeys,
    AskNewKey,
    AskRevocation,
    AskRotation,
    KeyDone,
    KeyPage,
    ToldEdges,
)
from job_contracts.keys import EdgeBeat, KeyRecord
from job_contracts.letters import (
    AllHandled,
    AskDiscard,
    AskLetter,
    AskLetterBody,
    AskLetters,
    AskReplay,
    DeadLetter,
    FoundLetter,
    LetterPage,
)
from job_contracts.operating import AskAudit, AskNote, AskOrder, Audited, AuditPage, Ordered, Overview, ToldStandby
from job_contracts.results import Result, Settlement
from job_contracts.scaling import Scales
from job_contracts.spend import (
    AskAttempts,
    AskComparison,
    AskDrafts,
    AskForecast,
    AskSpend,
    AttemptPage,
    Comparison,
    DraftReport,
    Forecast,
    LedgerState,
    Spend,
)
from job_contracts.stream import Chunk
from job_contracts.trials import AskExperiments, AskFeedback, AskStop, GivenScore, TakenFeedback, ToldExperiments

MESSAGES: Mapping[str, type[Wire]] = MappingProxyType(
    {
        "job": Job,
        "ticket": Ticket,
        "cancel": Cancel,
        "job_status": JobStatus,
        "result": Result,
        "settlement": Settlement,
        "assignment": Assignment,
        "outcome": Outcome,
        "heartbeat": Heartbeat,
        "heartbeat_reply": HeartbeatReply,
        "abort": Abort,
        "chunk": Chunk,
        "facts": Facts,
        "dead_letter": DeadLetter,
        "hello": Hello,
        "ask_jobs": AskJobs,
        "statuses": Statuses,
        "results": Results,
        "ask_chunks": AskChunks,
        "chunks": Chunks,
        "ask_blob": AskBlob,
        "ask_estimates": AskEstimates,
        "estimates": Estimates,
        "refusal": Refusal,
        "ask_letters": AskLetters,
        "letter_page": LetterPage,
        "ask_letter": AskLetter,
        "found_letter": FoundLetter,
        "ask_letter_body": AskLetterBody,
        "ask_replay": AskReplay,
        "ask_discard": AskDiscard,
        "all_handled": AllHandled,
        "key_record": KeyRecord,
        "edge_beat": EdgeBeat,
        "ask_keys": AskKeys,
        "key_page": KeyPage,
        "ask_new_key": AskNewKey,
        "ask_rotation": AskRotation,
        "ask_revocation": AskRevocation,
        "key_done": KeyDone,
        "told_edges": ToldEdges,
        "ask_spend": AskSpend,
        "spend": Spend,
        "ask_attempts": AskAttempts,
        "attempt_page": AttemptPage,
        "ask_comparison": AskComparison,
        "comparison": Comparison,
        "ask_drafts": AskDrafts,
        "draft_report": DraftReport,
        "ask_forecast": AskForecast,
        "forecast": Forecast,
        "ledger_state": LedgerState,
        "given_score": GivenScore,
        "ask_feedback": AskFeedback,
        "taken_feedback": TakenFeedback,
        "ask_experiments": AskExperiments,
        "ask_stop": AskStop,
        "told_experiments": ToldExperiments,
        "scales": Scales,
        "ask_order": AskOrder,
        "ordered": Ordered,
        "ask_note": AskNote,
        "ask_audit": AskAudit,
        "audited": Audited,
        "audit_page": AuditPage,
        "overview": Overview,
        "told_standby": ToldStandby,
        "ask_find": AskFind,
        "job_page": JobPage,
        "ask_job": AskJob,
        "found_job": FoundJob,
        "ask_cancels": AskCancels,
        "cancels": Cancels,
        "ask_causes": AskCauses,
        "causes": Causes,
        "ask_dead_letters": AskDeadLetters,
        "dead_letters": DeadLetters,
        "ask_dead_letter": AskDeadLetter,
        "found_dead": FoundDead,
        "ask_handle": AskHandle,
        "handled_up_to": HandledUpTo,
    }
)


DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what a reader of that message accepts. Raises KeyError."""
    found = MESSAGES[name].model_json_schema(mode="validation")
    return {"$schema": DRAFT, **found}

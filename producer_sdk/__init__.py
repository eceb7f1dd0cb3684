"""What clients install: submit jobs, follow their streams, collect their results.

::

    from producer_sdk import Producer

    async with Producer("nats://127.0.0.1:4222", key="psk_research_…") as producer:
        answer = await producer.complete(model="fast", messages=[{"role": "user", "content": "Hello!"}])
        print(answer.text, answer.usage, answer.cost)

Its rooms: ``producer`` the facade and ``sync`` its blocking twin · ``handle`` a submitted job · ``streams`` its events,
put in order by ``splice`` · ``batch`` many at once, with a ``checkpoint`` · ``embedding`` vectors of many texts ·
``letters`` jobs that were set aside · ``writing`` makes a ``request`` (with ``messages``, ``generation``,
``estimates``), what is sent, checked first · ``exchange`` jobs out and results home, with ``replies`` and ``desk``,
which the ``sweeper`` asks · ``portal`` the loop of the blocking twins, ``sync_handle`` and ``sync_letters`` two more of
them · ``transport`` the seam to the broker, ``nats_transport`` and its ``outbox`` · ``errors`` one tree, made at
``border`` alone · ``testing`` a gateway in memory for your tests · ``cli`` the command ``penstock``.

Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from job_contracts.chat import FinishReason, ToolCallPart, Usage
    from job_contracts.desk import Estimate
    from job_contracts.failures import Failure, FailureKind
    from job_contracts.jobs import JobState, JobStatus
    from job_contracts.letters import DeadLetter, LetterSummary
    from job_contracts.results import AttemptRecord, Result
    from job_contracts.stream import (
        Finished,
        Queued,
        ReasoningToken,
        Started,
        StreamEvent,
        Switched,
        Token,
        ToolCall,
        UsageReported,
    )
    from producer_sdk.answers import Answered
    from producer_sdk.batch import Item, Progress
    from producer_sdk.embedding import EmbeddingResult
    from producer_sdk.errors import (
        BudgetExceeded,
        Closed,
        ConstraintsUnmet,
        Forbidden,
        IdempotencyConflict,
        InvalidAnswer,
        InvalidRequest,
        JobCancelled,
        JobDead,
        JobExpired,
        JobFailed,
        NotFound,
        PenstockError,
        QueueFull,
        Refused,
        Timeout,
        TooLarge,
        UnknownRoute,
        Unreachable,
    )
    from producer_sdk.explaining import Explanation
    from producer_sdk.handle import JobHandle, Receipt
    from producer_sdk.letters import DeadLetters, LetterGroup, Tally
    from producer_sdk.options import JobOptions, Options
    from producer_sdk.producer import Producer
    from producer_sdk.streams import JobStream
    from producer_sdk.sync import SyncProducer
    from producer_sdk.sync_handle import SyncJobHandle, SyncJobStream
    from producer_sdk.sync_letters import SyncDeadLetters

_HOMES = {
    "job_contracts.chat": ("FinishReason", "ToolCallPart", "Usage"),
    "job_contracts.desk": ("Estimate",),
    "job_contracts.failures": ("Failure", "FailureKind"),
    "job_contracts.jobs": ("JobState", "JobStatus"),
    "job_contracts.letters": ("DeadLetter", "LetterSummary"),
    "job_contracts.results": ("AttemptRecord", "Result"),
    "job_contracts.stream": (
        "Finished",
        "Queued",
        "ReasoningToken",
        "Started",
        "StreamEvent",
        "Switched",
        "Token",
        "ToolCall",
        "UsageReported",
    ),
    "producer_sdk.answers": ("Answered",),
    "producer_sdk.batch": ("Item", "Progress"),
    "producer_sdk.embedding": ("EmbeddingResult",),
    "producer_sdk.errors": (
        "BudgetExceeded",
        "Closed",
        "ConstraintsUnmet",
        "Forbidden",
        "IdempotencyConflict",
        "InvalidAnswer",
        "InvalidRequest",
        "JobCancelled",
        "JobDead",
        "JobExpired",
        "JobFailed",
        "NotFound",
        "PenstockError",
        "QueueFull",
        "Refused",
        "Timeout",
        "TooLarge",
        "UnknownRoute",
        "Unreachable",
    ),
    "producer_sdk.explaining": ("Explanation",),
    "producer_sdk.handle": ("JobHandle", "Receipt"),
    "producer_sdk.letters": ("DeadLetters", "LetterGroup", "Tally"),
    "producer_sdk.options": ("JobOptions", "Options"),
    "producer_sdk.producer": ("Producer",),
    "producer_sdk.streams": ("JobStream",),
    "producer_sdk.sync": ("SyncProducer",),
    "producer_sdk.sync_handle": ("SyncJobHandle", "SyncJobStream"),
    "producer_sdk.sync_letters": ("SyncDeadLetters",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answered",
    "AttemptRecord",
    "BudgetExceeded",
    "Closed",
    "ConstraintsUnmet",
    "DeadLetter",
    "DeadLetters",
    "EmbeddingResult",
    "Estimate",
    "Explanation",
    "Failure",
    "FailureKind",
    "FinishReason",
    "Finished",
    "Forbidden",
    "IdempotencyConflict",
    "InvalidAnswer",
    "InvalidRequest",
    "Item",
    "JobCancelled",
    "JobDead",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobOptions",
    "JobState",
    "JobStatus",
    "JobStream",
    "LetterGroup",
    "LetterSummary",
    "NotFound",
    "Options",
    "PenstockError",
    "Producer",
    "Progress",
    "QueueFull",
    "Queued",
    "ReasoningToken",
    "Receipt",
    "Refused",
    "Result",
    "Started",
    "StreamEvent",
    "Switched",
    "SyncDeadLetters",
    "SyncJobHandle",
    "SyncJobStream",
    "SyncProducer",
    "Tally",
    "Timeout",
    "Token",
    "TooLarge",
    "ToolCall",
    "ToolCallPart",
    "UnknownRoute",
    "Unreachable",
    "Usage",
    "UsageReported",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

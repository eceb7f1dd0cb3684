"""What a job asks, of either kind, as an attempt carries it out: one request, a reader of its answer, an estimate.

Chat and embeddings differ here and nowhere else on an attempt's way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from job_contracts.failures import Failure, FailureKind
from workers.dialects.embeddings import EMBEDDERS, asking
from workers.dialects.port import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_contracts.chat import Conversation
    from job_contracts.embeddings import EmbeddingRequest
    from workers.dialects.port import Decoder, Dialect, Target

__all__ = ["Question", "of_conversation", "of_texts"]


class Reads(Protocol):
    """Makes the reader of one 2xx answer."""

    def __call__(self, *, content_type: str, max_bytes: int) -> Decoder: ...


@dataclass(frozen=True, slots=True)
class Question:
    """One request to one target."""

    encoded: Encoded
    decoder: Reads
    estimate: Callable[[], int]
    """Tokens of what is asked, for a provider that does not count them."""


def of_conversation(
    conversation: Conversation, target: Target, dialect: Dialect, *, estimate: Callable[[], int]
) -> Question:
    """A chat job's question; ``estimate`` counts what is asked."""
    encoded = dialect.encode(conversation, target)
    decoder = partial(dialect.decoder, target, names=encoded.names)
    return Question(encoded, decoder, estimate)


def of_texts(request: EmbeddingRequest, target: Target) -> Question | Failure:
    """An embedding job's question, or why this target cannot be asked it: then another deployment may."""
    dialect = target.model.dialect or target.provider.dialect
    embedder = EMBEDDERS.get(dialect)
    if embedder is None:
        words = f"there are no embeddings in the dialect {dialect!r}, which {target.model.name} speaks"
        remedy = "route embedding jobs to a model that makes them"
        return Failure(kind=FailureKind.UNSUPPORTED_PARAM, message=words, field="kind", remedy=remedy)
    failure = asking.too_many(request, target, embedder.most(target))
    if failure is not None:
        return failure
    decoder = partial(embedder.decoder, request, target)
    return Question(embedder.encode(request, target), decoder, partial(asking.estimate, request))

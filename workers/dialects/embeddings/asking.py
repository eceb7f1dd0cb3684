"""What requests for vectors share: how many texts fit, where they go, in whose words a purpose is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import to_json

from catalogue.quirks import quirks_of
from job_contracts.failures import Failure, FailureKind
from workers.dialects.encoding import Losses
from workers.dialects.port import Encoded
from workers.dialects.tokens import of_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.quirks import Quirks
    from job_contracts.embeddings import EmbeddingRequest
    from job_contracts.results import LossKind
    from workers.dialects.port import Target


def too_many(request: EmbeddingRequest, target: Target, most: int) -> Failure | None:
    """The failure of a job with more texts than the ``most`` the target takes in one call; ``None`` if they fit."""
    if len(request.inputs) <= most:
        return None
    return Failure(
        kind=FailureKind.REQUEST_EXCEEDS_LIMIT,
        message=f"the job has {len(request.inputs)} inputs, and {target.model.name} takes {most} in one call",
        field="embedding.inputs",
        remedy=f"send at most {most} in a job (embed(batch_size={most}))",
        provider=target.provider.name,
    )


def estimate(request: EmbeddingRequest) -> int:
    """Tokens of all inputs, where the provider does not count them."""
    return round(sum(max(1.0, of_text(text)) for text in request.inputs))


def dimensions(request: EmbeddingRequest, quirks: Quirks) -> int | None:
    """The length that is asked of the target; ``None``: its own."""
    return request.dimensions if quirks.embed_dimensions else None


class Asking:
    """A request for vectors in the making."""

    __slots__ = ("losses", "quirks", "request", "target")

    def __init__(self, request: EmbeddingRequest, target: Target) -> None:
        self.request = request
        self.target = target
        self.quirks = quirks_of(target.provider, target.model)
        self.losses = Losses()

    def dimensions(self) -> int | None:
        """What may be asked for; a length that the target cannot choose is a loss."""
        wanted = dimensions(self.request, self.quirks)
        if wanted is None and self.request.dimensions is not None:
            self.losses.add(
                "dropped", "embedding.dimensions", f"{self.request.dimensions}: the model's vectors have one length"
            )
        return wanted

    def purpose(self, words: Mapping[str, str], *, otherwise: str | None = None) -> str | None:
        """The target's word for the purpose: the row's, else the dialect's.

        ``otherwise`` is said where the job names none and the target wants one. A purpose without a word is a loss.
        """
        own = dict(entry.split("=", 1) for entry in self.quirks.embed_purposes)
        asked = self.request.purpose
        otherwise = own.get("", otherwise)
        if asked is None:
            return otherwise
        word = own.get(asked) or words.get(asked)
        if word is not None:
            return word
        kept = f"sent as {otherwise!r}" if otherwise else "not sent"
        kind: LossKind = "rewritten" if otherwise else "dropped"
        self.losses.add(kind, "embedding.purpose", f"{asked}: the target has no word for it ({kept})")
        return otherwise

    def encoded(self, body: Mapping[str, Any], usual: str) -> Encoded:
        """The request; ``usual`` is the dialect's path, with ``{model}`` for the model's name."""
        path = self.quirks.embed_path or usual
        name = self.target.model.name
        return Encoded(
            path=path.replace("{model}", quote(name, safe="")) if "{model}" in path else path,
            headers={"content-type": "application/json", **self.target.provider.headers},
            body=to_json(body),
            losses=tuple(self.losses),
        )

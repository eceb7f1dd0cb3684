"""The second kind of job: texts in, one vector for each of them out."""

from __future__ import annotations

from base64 import b64decode, b64encode
from struct import pack, unpack
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from job_contracts.codec import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_INPUTS = 2048
"""Texts in one job at most: no provider takes more in one call."""

Purpose = Literal["query", "document", "similarity", "classification", "clustering"]
"""What the vectors are for, where a model makes a difference of it."""


class EmbeddingRequest(Wire):
    """Texts to be turned into vectors, all in one call."""

    inputs: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=MOST_INPUTS)]
    dimensions: Annotated[int, Field(gt=0, le=65_536)] | None = None
    """Length of the vectors; ``None``: the model's own."""
    purpose: Purpose | None = None


class Embeddings(Wire):
    """Vectors in the order of the inputs, each as base64 of its 32-bit floats, little endian."""

    data: tuple[str, ...]
    dimensions: int

    @property
    def vectors(self) -> tuple[tuple[float, ...], ...]:
        """The vectors as floats. Raises ValueError if one is not what it should be."""
        return tuple(unpacked(one) for one in self.data)


def packed(vector: Sequence[float]) -> str:
    """A vector as it travels."""
    return b64encode(pack(f"<{len(vector)}f", *vector)).decode("ascii")


def unpacked(data: str) -> tuple[float, ...]:
    """A vector that has travelled. Raises ValueError if it is no base64 of whole floats."""
    floats = b64decode(data, validate=True)
    if len(floats) % 4:
        message = "a vector's bytes are no whole number of 32-bit floats"
        raise ValueError(message)
    return unpack(f"<{len(floats) // 4}f", floats)

"""Vectors of texts: the same for the same model, text and length; four bytes hold each number exactly (pure)."""

from __future__ import annotations

import base64
from hashlib import shake_256
from struct import pack

DIMENSIONS = 64
"""Length of a vector where nobody asks for one."""
MOST_DIMENSIONS = 3_072


def vector_of(model: str, text: str, length: int) -> list[float]:
    """Numbers from -1 to 1, in steps of a 128th."""
    seed = f"{model}\x1f{text}".encode("utf-8", "surrogatepass")
    return [(byte - 128) / 128 for byte in shake_256(seed).digest(length)]


def as_base64(vector: list[float]) -> str:
    """Its 32-bit floats, little endian."""
    return base64.b64encode(pack(f"<{len(vector)}f", *vector)).decode("ascii")

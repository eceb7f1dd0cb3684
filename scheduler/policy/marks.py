"""Two texts in one object: token and body hash of a job that waits, which hardly anybody asks for meanwhile."""

from __future__ import annotations

LENGTH = 4
"""Bytes of the first text's length, which stand before both."""


def joined(first: str, second: str) -> bytes:
    """Both, in about half of the memory that two strings take."""
    data = first.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(LENGTH, "big") + data + second.encode("utf-8", "surrogatepass")


def parted(marks: bytes) -> tuple[str, str]:
    """What ``joined`` was given."""
    end = LENGTH + int.from_bytes(marks[:LENGTH], "big")
    return marks[LENGTH:end].decode("utf-8", "surrogatepass"), marks[end:].decode("utf-8", "surrogatepass")

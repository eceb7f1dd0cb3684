"""By what services tell whether they run with the same configuration: a digest of each part that they must agree on.

It goes along in what they tell anyway, and is made of no secret (``runtime.agreed`` makes it). A service of an older
version tells none; a part that is as it comes is not named, so a newer version's further parts make no difference.
"""

from __future__ import annotations

from hashlib import sha256

from pydantic import Field

from job_contracts.codec import Wire

LENGTH = 8
"""Characters of a digest, hexadecimal: against mistakes, not against somebody who looks for two that are alike."""


class Configured(Wire):
    """What one process has of the configuration."""

    parts: dict[str, str] = Field(default_factory=dict)
    """Digests by part, such as ``routes``."""
    since: float | None = None
    """UTC seconds at which it was read, that is, at which the process started."""

    @property
    def fingerprint(self) -> str:
        """Of all parts together."""
        told = "\0".join(f"{name}={digest}" for name, digest in sorted(self.parts.items()))
        return sha256(told.encode("utf-8", "replace")).hexdigest()[: 2 * LENGTH]

    def apart(self, other: Configured) -> tuple[str, ...]:
        """The parts in which two differ, by name."""
        names = sorted({*self.parts, *other.parts})
        return tuple(name for name in names if self.parts.get(name) != other.parts.get(name))

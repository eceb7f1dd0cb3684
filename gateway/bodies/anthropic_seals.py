"""What models sign or seal of their reasoning, on its way through a client and back.

A signature is good for one family of models only. Claude's travel as they are, so that a conversation may begin at
Anthropic and go on here, or the other way about; in front of any other stands its family, ``gemini-3:…``. No signature
of Anthropic's has a colon in it, they are base64.
"""

from __future__ import annotations

OWN = "claude"
"""The family that Anthropic's API seals for."""


def sealed(token: str | None, origin: str | None) -> str | None:
    """A signature, or sealed reasoning, as a client gets it; ``None`` where there is none that is good for anything."""
    if not token or origin is None:
        return None
    return token if origin == OWN else f"{origin}:{token}"


def opened(given: str) -> tuple[str, str]:
    """What came back, as ``(token, origin)``."""
    origin, colon, token = given.partition(":")
    return (token, origin) if colon else (given, OWN)

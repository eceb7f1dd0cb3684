"""How the console works, and who may see it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from runtime.settings.written import Section, Token

Role: TypeAlias = Literal["viewer", "operator", "admin"]
"""What a person may do in the console: look; pause, override, cancel and replay; everything. Each may what the ones
before it may."""


class Login(Section):
    """A person who is known to the console by a key of their own (``python -m console --key NAME`` makes one)."""

    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """HMAC-SHA256 of the whole key under the pepper, in hexadecimal."""
    role: Role = "viewer"
    """What they may do."""


class Console(Section):
    """The console (``python -m console``); times in seconds."""

    origin: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    """The address that browsers know it by, such as ``https://console.example``, where it stands behind a proxy. With
    it forms are taken from there alone, and with ``https`` the session's cookie is sent over nothing else."""
    people: dict[Token, Login] = Field(default={})
    """Who may see everything, beside the admin: by the name that the audit calls them."""
    project_role: Literal["viewer", "operator"] = "viewer"
    """What the holder of a project's key may do, within that project alone."""
    idle: Annotated[float, Field(gt=0)] = 1_800.0
    """Without a request, after which a session ends; a page that is only left open is none."""
    session: Annotated[float, Field(gt=0)] = 28_800.0
    """After which every session ends."""
    every: Annotated[float, Field(ge=0.2, le=60)] = 1.0
    """Between two states of a page that is kept current."""

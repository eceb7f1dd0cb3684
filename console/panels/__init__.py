"""One file a page: what is asked for it, who may see it, what may be done there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from catalogue.rows import ProviderRow
    from console.asking import Asking, Edges, Ledger
    from console.effective import Effective
    from console.people import Person
    from console.playing import Playing
    from job_contracts.configured import Configured
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.settings.console import Role


@dataclass(frozen=True, slots=True)
class Desks:
    """Whom a panel may ask."""

    asking: Asking
    """The scheduler."""
    ledger: Ledger
    bus: Bus
    """The broker, to look at what it says of itself; nothing is published there but questions."""
    config: Config
    clock: Clock
    catalogue: Mapping[str, ProviderRow]
    """What is known of providers and models, by the name of the provider."""
    playing: Playing
    """The queue, to submit jobs to: only what answers by a ``Stream`` does."""
    edges: Edges
    effective: Effective
    """The configuration, with where each value is from."""
    configured: Configured
    """By what others' are compared with it."""


class Amiss(Exception):
    """A form cannot be acted on as it was filled in; the text says what is missing."""


Read = Callable[[Desks, "Person", Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""What its template needs, from the person and the address's query. Raises NoAnswer or Declined."""
Act = Callable[[Desks, "Person", Mapping[str, str]], Awaitable[str]]
"""Do what a form says; returns in words what was done. Raises NoAnswer, Declined or Amiss."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that may be done on a page, by whom. It has to see to it that it is audited."""

    role: Role
    act: Act


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file to take away."""

    name: str
    """With its ending."""
    kind: str
    """Content type."""
    body: bytes


Take = Callable[[Desks, "Person", Mapping[str, str]], Awaitable[Sheet]]
"""Make a file, from the person and the address's query. Raises NoAnswer or Declined."""
Flow = Callable[[Desks, "Person", Mapping[str, str]], AsyncGenerator[bytes, None]]
"""Do what a form says, and give events while it is done. It ends early, wherever it is, when its reader goes."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Something that a form asks for and that is answered piece by piece, to a script of the page.

    It has to see to it that it is audited, and to give at least a comment every few seconds.
    """

    may: Callable[[Person], bool]
    """Who may."""
    flow: Flow
    largest: int
    """Bytes of the form."""


Group = Literal["Now", "Money", "Models", "System"]
GROUPS: tuple[Group, ...] = ("Now", "Money", "Models", "System")
"""What the navigation is parted into."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A page. Its template has the same name; ``<name>_forms`` beside it, if it has actions.

    Forms carry the session's word, so they are not part of what is pushed. A button in what is pushed belongs to one of
    them by its attribute ``form``.
    """

    name: str
    title: str
    letter: str
    """The key that leads to it, after ``g``; empty for a page that others lead to, which is not in the navigation."""
    read: Read
    group: Group = "Now"
    live: bool = True
    """Whether it is kept current by pushes."""
    every: float = 0.0
    """Seconds between two states at least, where making one is work; the configuration may say more."""
    seen_by: Literal["all", "operators", "projects"] = "operators"
    """``operators``: those who see everything. ``projects``: holders of a project's key. ``all``: both, and the page
    sees to it that the latter meet their project's things alone."""
    actions: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    sheets: Mapping[str, Take] = field(default_factory=lambda: MappingProxyType({}))
    """Files to take away, by the last part of their address."""
    streams: Mapping[str, Stream] = field(default_factory=lambda: MappingProxyType({}))
    """What is answered piece by piece, by the last part of its address."""
    script: str = ""
    """A file of ``static`` that this page alone loads."""

    def shows(self, person: Person) -> bool:
        """Whether somebody may see it."""
        return self.seen_by == "all" or (self.seen_by == "projects") is (person.project is not None)

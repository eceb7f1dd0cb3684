"""One file a page: what is asked for it, who may see it, what may be done there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.asking import Asking
    from console.people import Person
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.settings.console import Role


@dataclass(frozen=True, slots=True)
class Desks:
    """Whom a panel may ask."""

    asking: Asking
    config: Config
    clock: Clock


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
class Panel:
    """A page. Its template has the same name; ``<name>_forms`` beside it, if it has actions."""

    name: str
    title: str
    letter: str
    """The key that leads to it, after ``g``."""
    read: Read
    live: bool = True
    """Whether it is kept current by pushes."""
    projects: bool = False
    """Whether it is for the holders of projects' keys; the others are for those who see everything."""
    actions: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))

    def shows(self, person: Person) -> bool:
        """Whether somebody may see it."""
        return self.projects is (person.project is not None)

"""Pools and limits: what is ordered of them, and orders."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from console.asking import fault
from console.forms import length
from console.panels import Action, Amiss, Desks, Panel
from job_contracts.operating import AIMS, Aim, AskOrder, Doing, Rates

if TYPE_CHECKING:
    from console.people import Person

UNITS = ("s", "min", "h", "d")
"""In which it is said how long an order lasts."""
_RATES = tuple(Rates.model_fields)


async def _read(desks: Desks, _: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    return {"now": await desks.asking.overview(), "query": query, "rates": _RATES}


async def _order(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    asked = _asked(person, form)
    ordered = await desks.asking.order(asked)
    what = f"{asked.do} {asked.name}"
    if not ordered.changed:
        return f"{what}: that was in force already"
    return f"{what}: in force" + (f" (audit {ordered.line.seq})" if ordered.line is not None else "")


def _asked(person: Person, form: Mapping[str, str]) -> AskOrder:
    aim, _, name = form.get("on", "").partition(":")
    do = form.get("do", "")
    if aim not in AIMS or do not in get_args(Doing):
        raise Amiss("choose what is to be done, and on what")
    rates = {name: form[name] for name in _RATES if form.get(name, "").strip()}
    factor = form.get("factor", "").strip()
    try:
        return AskOrder(
            do=_doing(do),
            aim=_aim(aim),
            name=name,
            by=person.name,
            why=form.get("why", ""),
            lasts=length(form, "lasts", UNITS),
            limits=Rates.model_validate(rates) if do == "override" else None,
            factor=_factor(factor) if do == "weigh" else None,
        )
    except ValidationError as error:
        raise Amiss(fault(error)) from error


def _doing(text: str) -> Doing:
    return next(one for one in get_args(Doing) if one == text)


def _aim(text: str) -> Aim:
    return next(one for one in AIMS if one == text)


def _factor(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise Amiss("times the configured weight: a number") from error


POOLS = Panel("pools", "Pools and limits", "p", _read, actions=MappingProxyType({"order": Action("operator", _order)}))

"""The control interface over HTTP: which request does what.

    GET    /_control                           what there is (reports.Overview)
    GET    /_control/meter     DELETE          what has been billed (MeterReport); start anew
    GET    /_control/bills                     what each of the last requests was billed (BillReport)
    GET    /_control/export?form=csv           what a provider hands out (exports.FORMS); &provider= for one alone
    GET    /_control/audit     DELETE          how limits were used (AuditReport); start anew
    GET    /_control/log?last=N  DELETE        the last requests (LogReport); start anew
    GET    /_control/faults    POST    DELETE  faults in force (FaultReport); lay one (FaultOrder); remove (?provider=)
    DELETE /_control/faults/ID                 remove one
    PUT    /_control/limits                    {"provider", "model"?, "limits": Limits}
    PUT    /_control/pace                      {"provider", "model"?, "pace": Pace}
    PUT    /_control/price                     {"provider", "model"?, "price": Price}
    PUT    /_control/keys                      {"provider", "keys": [...]}
    POST   /_control/reset                     faults, books, audits and caches as at the start

A wrong order is answered with 422 and a message that says what is wrong; an unknown provider, fault or path with 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from pydantic import BaseModel
from pydantic_core import to_json

from simulator.control import Control, UnknownProvider
from simulator.exports import FORMS
from simulator.reports import Done, FaultOrder, FaultReport, Laid, LogReport, Overview
from simulator.settings import Frozen, Limits, Pace, Price
from simulator.wire import JSON, Request, whole

CONTROL = "/_control"
DEFAULT_LAST = "100"
CSV = b"text/csv; charset=utf-8"


class LimitsOrder(Frozen):
    """Limits for a provider or one of its models."""

    provider: str
    model: str | None = None
    limits: Limits


class PaceOrder(Frozen):
    """The pace of a provider or one of its models."""

    provider: str
    model: str | None = None
    pace: Pace


class PriceOrder(Frozen):
    """The prices of a provider or one of its models."""

    provider: str
    model: str | None = None
    price: Price


class KeysOrder(Frozen):
    """The keys that a provider accepts."""

    provider: str
    keys: tuple[str, ...]


class NoSuchControl(LookupError):
    """A path or method that the control interface does not have, or a fault that is not there."""


async def answer(control: Control, url: str, request: Request) -> bytes:
    """Do what a request asks for; returns the whole response."""
    status = 200
    try:
        if (request.method, request.path) == ("GET", f"{CONTROL}/export"):
            return _export(control, request)
        body = to_json(await _act(control, url, request))
    except (NoSuchControl, UnknownProvider) as error:
        status, body = 404, to_json({"error": {"message": str(error)}})
    except ValueError as error:  # pydantic's and the fault table's are ValueErrors, and say what is wrong
        status, body = 422, to_json({"error": {"message": str(error)}})
    return whole(status, JSON, body)


async def _act(control: Control, url: str, request: Request) -> BaseModel:
    path = request.path.removeprefix(CONTROL).rstrip("/")
    if request.method == "GET" and not path:
        return Overview(url=url, providers=control.providers())
    action = _ACTIONS.get((request.method, path))
    if action is not None:
        return await action(control, request)
    fault = path.removeprefix("/faults/")
    if request.method == "DELETE" and fault.isdecimal():
        if not await control.remove_fault(int(fault)):
            raise NoSuchControl(f"there is no fault {fault}")
        return Done()
    raise NoSuchControl(f"{request.method} {request.path} is no control")


def _query(request: Request, name: str) -> str | None:
    values = parse_qs(request.query).get(name)
    return values[-1] if values else None


async def _meter(control: Control, _: Request) -> BaseModel:
    return control.meter()


async def _reset_meter(control: Control, _: Request) -> BaseModel:
    control.reset_meter()
    return Done()


async def _bills(control: Control, _: Request) -> BaseModel:
    return control.bills()


def _export(control: Control, request: Request) -> bytes:
    form = _query(request, "form") or "csv"
    if form not in FORMS:
        raise ValueError(f"there is no form {form!r}: there are {', '.join(FORMS)}")
    text = control.export(form, _query(request, "provider"))
    return whole(200, JSON if text.startswith("{") else CSV, text.encode())


async def _audit(control: Control, _: Request) -> BaseModel:
    return control.audit()


async def _reset_audit(control: Control, _: Request) -> BaseModel:
    control.reset_audit()
    return Done()


async def _log(control: Control, request: Request) -> BaseModel:
    return LogReport(lines=control.log(int(_query(request, "last") or DEFAULT_LAST)))


async def _reset_log(control: Control, _: Request) -> BaseModel:
    control.reset_log()
    return Done()


async def _faults(control: Control, _: Request) -> BaseModel:
    return FaultReport(faults=control.faults())


async def _add_fault(control: Control, request: Request) -> BaseModel:
    return Laid(ids=await control.add_fault(FaultOrder.model_validate_json(request.body)))


async def _clear_faults(control: Control, request: Request) -> BaseModel:
    await control.clear_faults(_query(request, "provider"))
    return Done()


async def _set_limits(control: Control, request: Request) -> BaseModel:
    order = LimitsOrder.model_validate_json(request.body)
    control.set_limits(order.provider, order.limits, model=order.model)
    return Done()


async def _set_pace(control: Control, request: Request) -> BaseModel:
    order = PaceOrder.model_validate_json(request.body)
    control.set_pace(order.provider, order.pace, model=order.model)
    return Done()


async def _set_price(control: Control, request: Request) -> BaseModel:
    order = PriceOrder.model_validate_json(request.body)
    control.set_price(order.provider, order.price, model=order.model)
    return Done()


async def _set_keys(control: Control, request: Request) -> BaseModel:
    order = KeysOrder.model_validate_json(request.body)
    control.set_keys(order.provider, order.keys)
    return Done()


async def _reset(control: Control, _: Request) -> BaseModel:
    await control.reset()
    return Done()


_ACTIONS: dict[tuple[str, str], Callable[[Control, Request], Awaitable[BaseModel]]] = {
    ("GET", "/meter"): _meter,
    ("DELETE", "/meter"): _reset_meter,
    ("GET", "/bills"): _bills,
    ("GET", "/audit"): _audit,
    ("DELETE", "/audit"): _reset_audit,
    ("GET", "/log"): _log,
    ("DELETE", "/log"): _reset_log,
    ("GET", "/faults"): _faults,
    ("POST", "/faults"): _add_fault,
    ("DELETE", "/faults"): _clear_faults,
    ("PUT", "/limits"): _set_limits,
    ("PUT", "/pace"): _set_pace,
    ("PUT", "/price"): _set_price,
    ("PUT", "/keys"): _set_keys,
    ("POST", "/reset"): _reset,
}

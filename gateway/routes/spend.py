"""``/v1/spend``: what was spent, and by whom. The admin sees all projects, a project's key its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from starlette.responses import Response

from gateway.app import Endpoint, answer
from gateway.bodies import spend
from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.openapi import JSON, About, Parameter, Told
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import FailureKind
from job_contracts.spend import (
    AskAttempts,
    AskComparison,
    AskDrafts,
    AskForecast,
    AskSpend,
    AttemptPage,
    Comparison,
    DraftReport,
    Forecast,
    LedgerOperation,
    Spend,
)
from runtime.bus.port import OutcomeUnknown, Unreachable

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.bodies.schemas import Fields
    from gateway.call import Call

CSV = "text/csv"
TIMEOUT = 25.0
"""Seconds the ledger may take."""
AGAIN = 5.0
H_AFTER = "x-penstock-after"

Q = TypeVar("Q", bound=Wire)
R = TypeVar("R", bound=Wire)


async def sums(call: Call) -> ASGIApp:
    """Sums of a period, by any of the dimensions."""
    as_csv = _as_csv(call)
    asked = _asked(call, AskSpend, _SUMS)
    found = await _ledger(call, "spend", asked, Spend)
    if as_csv:
        return _sheet(spend.spend_sheet(found, asked.by), found.after)
    return answer(spend.spend_told(found, asked.by), headers=_FRESH)


async def attempts(call: Call) -> ASGIApp:
    """The attempts behind a sum."""
    as_csv = _as_csv(call)
    asked = _asked(call, AskAttempts, _ATTEMPTS)
    found = await _ledger(call, "attempts", asked, AttemptPage)
    if asked.told_too_much(found):
        remedy = "bring the ledger to the gateway's version, or leave experiment and arm out"
        told = ApiError(503, "ledger_unavailable", "the ledger is older and knows nothing of arms", remedy=remedy)
        raise Failed(told)
    if as_csv:
        return _sheet(spend.attempts_sheet(found), found.after)
    return answer(spend.attempts_told(found), headers=_FRESH)


async def compare(call: Call) -> ASGIApp:
    """What the same traffic would have cost elsewhere."""
    as_csv = _as_csv(call)
    found = await _ledger(call, "compare", _asked(call, AskComparison, _COMPARE), Comparison)
    return _sheet(spend.comparison_sheet(found)) if as_csv else answer(spend.comparison_told(found), headers=_FRESH)


async def drafts(call: Call) -> ASGIApp:
    """What verifiers said of answers, and what that came to."""
    as_csv = _as_csv(call)
    found = await _ledger(call, "drafts", _asked(call, AskDrafts, _DRAFTS), DraftReport)
    return _sheet(spend.drafts_sheet(found)) if as_csv else answer(spend.drafts_told(found), headers=_FRESH)


async def forecast(call: Call) -> ASGIApp:
    """Where budgets will be at the end of their windows."""
    as_csv = _as_csv(call)
    found = await _ledger(call, "forecast", _asked(call, AskForecast, _FORECAST), Forecast)
    return _sheet(spend.forecast_sheet(found)) if as_csv else answer(spend.forecast_told(found), headers=_FRESH)


def _as_csv(call: Call) -> bool:
    return spend.as_csv(call.request.query_params, call.request.headers.get("accept", ""))


def _asked(call: Call, kind: type[Q], parameters: tuple[Parameter, ...]) -> Q:
    own = None if call.caller.admin else call.caller.project
    names = [one.name for one in parameters]
    return spend.read(kind, call.request.query_params, names, project=own, now=call.edge.clock.wall())


async def _ledger(call: Call, operation: LedgerOperation, asked: Wire, kind: type[R]) -> R:
    """The ledger's answer. Raises ``Failed``: 400 as it said, 503 if none answers."""
    try:
        found = await call.edge.bus.request(subjects.ledger_desk(operation), encode(asked), timeout=TIMEOUT)
    except (Unreachable, OutcomeUnknown) as error:
        remedy = "start it (python -m ledger), or look whether it is ready, and ask again"
        told = ApiError(503, "ledger_unreachable", "no ledger answers", remedy=remedy, retry_after=AGAIN)
        raise Failed(told) from error
    if not found.data.startswith(b'{"refused"'):
        return decode(kind, found.data)
    failure = decode(Refusal, found.data).refused
    if failure.kind is FailureKind.BAD_REQUEST:
        message = failure.message.removeprefix(f"{type(asked).__name__}: ")
        raise Failed(ApiError(400, "invalid_value", message, failure.field, failure.remedy))
    again = failure.retry_after or AGAIN
    raise Failed(ApiError(503, "ledger_unavailable", failure.message, remedy=failure.remedy, retry_after=again))


def _sheet(text: str, after: str | None = None) -> Response:
    headers = {**_FRESH, "content-disposition": 'attachment; filename="spend.csv"'}
    if after is not None:
        headers[H_AFTER] = after
    return Response(text.encode("utf-8", "replace"), 200, headers, f"{CSV}; charset=utf-8")


_FRESH = {"cache-control": "no-store"}
_SUMS = (*spend.FILTERS, spend.TAG, spend.BY, *spend.PAGES)
_ATTEMPTS = (*spend.FILTERS, *spend.ATTEMPTS, *spend.PAGES)
_COMPARE = (*spend.FILTERS, spend.AGAINST)
_DRAFTS = spend.VERIFIED
_FORECAST = spend.SOURCES[:1]


def _about(summary: str, told: str, schema: Fields, parameters: tuple[Parameter, ...], more: str = "") -> About:
    sheet: Fields = {"type": "string"}
    answers = {200: Told(told, {JSON: schema, CSV: sheet})}
    described = f"The admin sees all projects, a project's key its own. {more}".strip()
    return About(
        summary, "spend", answers, parameters=(*parameters, spend.FORMAT), errors=(400,), description=described
    )


_PAGED = "CSV has the page's end in the header x-penstock-after."
ENDPOINTS = (
    Endpoint(
        "/v1/spend",
        ("GET",),
        sums,
        who="either",
        about=_about("What was spent", "Sums, in the order of by.", spend.SPEND, _SUMS, _PAGED),
    ),
    Endpoint(
        "/v1/spend/attempts",
        ("GET",),
        attempts,
        who="either",
        about=_about("The attempts behind a sum", "Newest first.", spend.ATTEMPT_PAGE, _ATTEMPTS, _PAGED),
    ),
    Endpoint(
        "/v1/spend/compare",
        ("GET",),
        compare,
        who="either",
        about=_about("What the same traffic would have cost elsewhere", "Cheapest first.", spend.COMPARISON, _COMPARE),
    ),
    Endpoint(
        "/v1/spend/drafts",
        ("GET",),
        drafts,
        who="either",
        about=_about("What verifiers said", "A route with verify each.", spend.DRAFTS, _DRAFTS),
    ),
    Endpoint(
        "/v1/spend/forecast",
        ("GET",),
        forecast,
        who="either",
        about=_about("Where budgets will be", "Each budget's windows.", spend.FORECAST, _FORECAST),
    ),
)

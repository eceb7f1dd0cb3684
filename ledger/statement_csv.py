"""Statements as CSV: which column means what is a row of a table, one a form (pure)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ledger import statement_lines as told
from ledger.statement_lines import BadStatement, Line, Place


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of one form; the first that a file has counts. ``whole``: whether input is all of it."""

    date: tuple[str, ...]
    model: tuple[str, ...]
    requests: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    cache_read: tuple[str, ...] = ()
    cache_write: tuple[str, ...] = ()
    """All that are there are added up."""
    output: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()
    currency: tuple[str, ...] = ()
    request: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    whole: bool = True
    item: bool = False
    """Whether ``model`` is a line item, ``MODEL, what of it``."""
    titled: bool = False
    """Whether ``model`` is what people call it: ``Claude Haiku 4.5``."""
    gaps: bool = False
    """Whether a day without any use has a row that says nothing but its day."""
    otherwise: tuple[str, ...] = ()
    """Names what no model was used for: a search, a run of code."""


FORMS: Mapping[str, tuple[Columns, ...]] = MappingProxyType(
    {
        "openai": (
            Columns(
                date=("start_time_iso", "start_time"),
                model=("model",),
                requests=("num_model_requests",),
                input=("input_tokens",),
                cache_read=("input_cached_tokens",),
                cache_write=("input_cache_write_tokens",),
                output=("output_tokens",),
                batch=("batch",),
                gaps=True,
            ),
            Columns(
                date=("start_time_iso", "start_time"),
                model=("line_item",),
                cost=("amount_value",),
                currency=("amount_currency",),
                item=True,
                gaps=True,
            ),
        ),
        "anthropic": (
            Columns(
                date=("usage_date_utc",),
                model=("model_version",),
                input=("usage_input_tokens_no_cache",),
                cache_read=("usage_input_tokens_cache_read",),
                cache_write=("usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h"),
                output=("usage_output_tokens",),
                batch=("usage_type",),
                whole=False,
            ),
            Columns(
                date=("usage_date_utc",),
                model=("model",),
                cost=("cost_usd",),
                batch=("usage_type",),
                titled=True,
                otherwise=("cost_type",),
            ),
        ),
        "csv": (
            Columns(
                date=("date",),
                model=("model",),
                requests=("requests",),
                input=("input_tokens",),
                cache_read=("cached_tokens",),
                cache_write=("cache_write_tokens",),
                output=("output_tokens",),
                reasoning=("reasoning_tokens",),
                cost=("cost",),
                request=("request_id",),
            ),
        ),
    }
)


def rows(text: str, form: str) -> Iterator[Line]:
    """The lines of a file; which of the tables it is shows in its header. Raises BadStatement."""
    reader = csv.reader(f"{line}\n" for line in text.split("\n"))
    try:
        header = [name.strip().lower() for name in next(reader)]
        if len(set(header)) < len(header):
            raise BadStatement("a column stands there twice", line=1)
        columns = _columns(header, form)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                message = f"{len(values)} values where the header has {len(header)} columns"
                raise BadStatement(message, line=reader.line_num)
            row = dict(zip(header, values, strict=True))
            if not (columns.gaps and _silent(row, columns)):
                yield _line(row, columns, reader.line_num)
    except csv.Error as error:
        raise BadStatement(f"this is no CSV ({error})", line=reader.line_num) from error


def _columns(header: list[str], form: str) -> Columns:
    wanted = [form] if form != "auto" else list(FORMS)
    for one in wanted:
        for columns in FORMS[one]:
            if any(name in header for name in columns.date) and any(name in header for name in columns.model):
                return columns
    needed = " or ".join(f"{each.date[0]} and {each.model[0]}" for one in wanted for each in FORMS[one])
    raise BadStatement(f"the header has not the columns that are needed: {needed}", line=1)


def _silent(row: Mapping[str, str], columns: Columns) -> bool:
    figures = (columns.model, columns.requests, columns.input, columns.output, columns.cost)
    return not any(row.get(name, "").strip() for names in figures for name in names)


def _line(row: Mapping[str, str], columns: Columns, line: int) -> Line:
    def at(names: tuple[str, ...]) -> tuple[str | None, Place]:
        column = next((name for name in names if name in row), None)
        return (None if column is None else row[column]), Place(line, column or names[0] if names else "")

    def number(names: tuple[str, ...]) -> int | None:
        return told.count(*at(names))

    written = [told.count(row[name], Place(line, name)) for name in columns.cache_write if name in row]
    cache_write = None if all(one is None for one in written) else sum(one or 0 for one in written)
    model, place = at(columns.model)
    if columns.item:
        model = (model or "").partition(", ")[0]
    if columns.titled:
        model = "-".join((model or "").lower().replace(".", " ").split()) or at(columns.otherwise)[0]
    told.currency(*at(columns.currency))
    counted, cache_read = number(columns.input), number(columns.cache_read)
    if counted is not None and not columns.whole:
        counted += (cache_read or 0) + (cache_write or 0)
    return Line(
        line=line,
        day=told.day(*at(columns.date)),
        model=told.name(model, place),
        requests=number(columns.requests),
        input=counted,
        cache_read=cache_read,
        cache_write=cache_write,
        output=number(columns.output),
        reasoning=number(columns.reasoning),
        cost=told.money(*at(columns.cost)),
        request=told.request(*at(columns.request)),
        batch=told.yes(at(columns.batch)[0]),
    )

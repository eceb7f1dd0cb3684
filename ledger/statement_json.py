"""Statements as JSON: pages of buckets, each with the results of a day (pure)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from ledger import statement_lines as told
from ledger.statement_lines import BadStatement, Line, Place

Result = Mapping[str, Any]
Reader = Callable[[Result, object, str, int], Line]
"""A result, when its bucket begins, where it stands, and the number of the line that it becomes."""


def rows(text: str, form: str) -> Iterator[Line]:
    """The results of all pages, in order. Raises BadStatement."""
    pages = list(_pages(text))
    if pages[-1].get("has_more"):
        raise BadStatement("the export goes on (has_more): add the pages that follow")
    number = 0
    for page_number, page in enumerate(pages, 1):
        page_place = f"page {page_number}, " if len(pages) > 1 else ""
        for bucket_number, bucket in enumerate(_list(page.get("data"), f"{page_place}data")):
            place = f"{page_place}data[{bucket_number}]"
            begins = _mapping(bucket, place).get("start_time", bucket.get("starting_at"))
            results = bucket.get("results", bucket.get("result"))
            for result_number, result in enumerate(_list(results, f"{place}.results")):
                number += 1
                where = f"{place}.results[{result_number}]"
                yield _reader(_mapping(result, where), form, where)(result, begins, where, number)


def _pages(text: str) -> Iterator[Result]:
    decoder, at = json.JSONDecoder(parse_float=Decimal), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            found, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise BadStatement(error.msg, line=error.lineno, column=f"column {error.colno}") from error
        except (RecursionError, ValueError) as error:
            raise BadStatement("this is no JSON that can be read") from error
        for number, page in enumerate(found if isinstance(found, list) else [found], 1):
            yield _mapping(page, f"page {number}")


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadStatement("a list was expected", column=place)
    return value


def _mapping(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadStatement("an object was expected", column=place)
    return value


def _openai_usage(result: Result, begins: object, where: str, line: int) -> Line:
    def number(name: str) -> int | None:
        return told.count(result.get(name), Place(None, f"{where}.{name}"))

    return Line(
        line=line,
        day=told.day(begins, Place(None, f"{where}: start_time")),
        model=told.name(result.get("model"), Place(None, f"{where}.model")),
        requests=number("num_model_requests"),
        input=number("input_tokens"),
        cache_read=number("input_cached_tokens"),
        cache_write=number("input_cache_write_tokens"),
        output=number("output_tokens"),
        batch=told.yes(result.get("batch")),
    )


def _openai_costs(result: Result, begins: object, where: str, line: int) -> Line:
    amount = _mapping(result.get("amount"), f"{where}.amount")
    told.currency(amount.get("currency"), Place(None, f"{where}.amount.currency"))
    item = result.get("line_item")
    place = Place(None, f"{where}.line_item")
    if not isinstance(item, str):
        raise place.wrong("the line item is missing; export grouped by line_item")
    return Line(
        line=line,
        day=told.day(begins, Place(None, f"{where}: start_time")),
        model=told.name(item.partition(", ")[0], place),
        cost=told.money(amount.get("value"), Place(None, f"{where}.amount.value")),
    )


def _anthropic_usage(result: Result, begins: object, where: str, line: int) -> Line:
    def number(value: object, name: str) -> int:
        return told.count(value, Place(None, f"{where}.{name}")) or 0

    created = _mapping(result.get("cache_creation") or {}, f"{where}.cache_creation")
    cache_write = sum(
        number(created.get(name), f"cache_creation.{name}")
        for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    )
    cache_read = number(result.get("cache_read_input_tokens"), "cache_read_input_tokens")
    uncached = number(result.get("uncached_input_tokens"), "uncached_input_tokens")
    return Line(
        line=line,
        day=told.day(begins, Place(None, f"{where}: starting_at")),
        model=told.name(result.get("model"), Place(None, f"{where}.model")),
        input=uncached + cache_read + cache_write,
        cache_read=cache_read,
        cache_write=cache_write,
        output=number(result.get("output_tokens"), "output_tokens"),
        batch=told.yes(result.get("service_tier")),
    )


def _anthropic_cost(result: Result, begins: object, where: str, line: int) -> Line:
    told.currency(result.get("currency"), Place(None, f"{where}.currency"))
    return Line(
        line=line,
        day=told.day(begins, Place(None, f"{where}: starting_at")),
        model=told.name(result.get("model") or result.get("description"), Place(None, f"{where}.model")),
        cost=told.money(result.get("amount"), Place(None, f"{where}.amount"), cents=True),
        batch=told.yes(result.get("service_tier")),
    )


SHAPES: Mapping[str, Mapping[str, Reader]] = MappingProxyType(
    {
        "openai": MappingProxyType({"line_item": _openai_costs, "num_model_requests": _openai_usage}),
        "anthropic": MappingProxyType({"uncached_input_tokens": _anthropic_usage, "amount": _anthropic_cost}),
        "csv": MappingProxyType({}),
    }
)
"""By form: the field by which a result shows what it is, and who reads it."""


def _reader(result: Result, form: str, where: str) -> Reader:
    for name, shapes in SHAPES.items():
        if form in {"auto", name}:
            for field, reader in shapes.items():
                if field in result:
                    return reader
    raise BadStatement("this is no result of a usage or cost export that is known", column=where)

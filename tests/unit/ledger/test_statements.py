"""Statements as providers hand them out: every form is read exactly, and what cannot be read is told with its place."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger import statements
from ledger.statements import BadStatement, Line, read
from simulator import exports
from simulator.meter import Bill, DaySum, Sum, Usage

DAY = date(2026, 11, 28)
AT = datetime(2026, 11, 28, 13, 5, tzinfo=UTC).timestamp()
DAYS = [
    (
        DAY,
        "gpt-4o-mini-2024-07-18",
        DaySum(
            counts=Sum(ok=2, broken=1, input=100, cached_read=30, cache_write=5, output=40, reasoning=7, cost=123_456),
            items={"input": 100_000, "output": 23_456},
        ),
    )
]


def only(data: str, form: statements.Form = "auto") -> Line:
    (line,) = read(data.encode(), form).lines
    return line


def lines(*texts: str) -> str:
    return "\n".join(texts) + "\n"


def told(line: Line) -> tuple[Any, ...]:
    return line.day, line.model, line.requests, line.input, line.cache_read, line.cache_write, line.output, line.cost


def test_every_form_that_the_simulated_providers_hand_out_is_read_to_the_token_and_the_picodollar() -> None:
    model = "gpt-4o-mini-2024-07-18"
    assert told(only(exports.openai_usage(DAYS))) == (DAY, model, 3, 135, 30, None, 47, None)
    assert told(only(exports.anthropic_usage(DAYS))) == (DAY, model, None, 135, 30, 5, 47, None)
    assert told(only(exports.day_csv(DAYS))) == (DAY, model, 3, 135, 30, 5, 47, 123_456)
    costs = read(exports.openai_costs(DAYS).encode()).lines
    assert [(line.model, line.cost, line.input) for line in costs] == [(model, 100_000, None), (model, 23_456, None)]


def test_a_statement_by_request_names_the_calls() -> None:
    bill = Bill(AT, "alpha", "m", "demo.a-1.1", "ok", Usage(input=3, output=2), 7)
    statement = read(exports.request_csv([bill]).encode())
    assert statement.by_request
    assert (statement.lines[0].request, statement.lines[0].input, statement.lines[0].cost) == ("demo.a-1.1", 3, 7)


def test_anthropics_cost_report_is_in_cents_and_may_say_that_it_was_a_batch() -> None:
    result = {
        "currency": "USD",
        "amount": "123.45678",
        "model": "claude-sonnet-4-20250514",
        "description": "Claude Sonnet 4 Usage - Input Tokens",
        "service_tier": "batch",
    }
    page = {"data": [{"starting_at": "2026-11-28T00:00:00Z", "results": [result]}], "has_more": False}
    line = only(json.dumps(page))
    assert (line.model, line.cost, line.batch) == ("claude-sonnet-4-20250514", 1_234_567_800_000, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            lines(
                "start_time,start_time_iso,model,num_model_requests,input_tokens,input_cached_tokens,output_tokens,batch",
                "1795824000,2026-11-28T00:00:00+00:00,gpt-4o,2,10,4,5,true",
            ),
            Line(2, DAY, "gpt-4o", requests=2, input=10, cache_read=4, output=5, batch=True),
        ),
        (
            'start_time,amount_value,amount_currency,line_item\n1795824000,0.0000005,usd,"gpt-4o, cached input"\n',
            Line(2, DAY, "gpt-4o", cost=500_000),
        ),
        (
            lines(
                "usage_date_utc,model_version,usage_type,usage_input_tokens_no_cache,usage_input_tokens_cache_read,"
                "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_output_tokens",
                "2026-11-28,claude-haiku-4-5,standard,10,3,1,2,5",
            ),
            Line(2, DAY, "claude-haiku-4-5", input=16, cache_read=3, cache_write=3, output=5),
        ),
        (
            "usage_date_utc,model,usage_type,token_type,cost_usd\n2026-11-28,claude-haiku-4-5,batch,output,0.02\n",
            Line(2, DAY, "claude-haiku-4-5", cost=20_000_000_000, batch=True),
        ),
        (
            lines(
                "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,line_item",
                "1795737600,1795824000,2026-11-27T00:00:00,2026-11-28T00:00:00,,,,",
                '1795824000,1795910400,2026-11-28T00:00:00,2026-11-29T00:00:00,0.5000,usd,9,"gpt-4o, input_tokens"',
            ),
            Line(3, DAY, "gpt-4o", cost=500_000_000_000),
        ),
        (
            lines(
                "start_time,start_time_iso,num_model_requests,model,input_tokens,input_cached_tokens,"
                "input_cache_write_tokens,input_uncached_tokens,output_tokens",
                "1795824000,2026-11-28T00:01:00+00:00,3.0,gpt-5.6,40,10,20,10,5",
            ),
            Line(2, DAY, "gpt-5.6", requests=3, input=40, cache_read=10, cache_write=20, output=5),
        ),
        (
            lines(
                "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,"
                "cost_type,inference_geo,speed",
                "2026-11-28,Claude 3.5 Sonnet 2024-10-22,Default,k,message,,output,0.02,0.03,token,global,",
            ),
            Line(2, DAY, "claude-3-5-sonnet-2024-10-22", cost=20_000_000_000),
        ),
        (
            "usage_date_utc,model,usage_type,cost_usd,cost_type\n2026-11-28,,message,0.01,web_search\n",
            Line(2, DAY, "web_search", cost=10_000_000_000),
        ),
        ("\ufeffDate,Model\r\n2026-11-28,m\r\n\r\n", Line(2, DAY, "m")),
        ("date,model,cost\n2026-11-28,m,-$1\n".replace("-$", "-"), Line(2, DAY, "m", cost=-(10**12))),
    ],
)
def test_csv_is_told_apart_by_its_columns(text: str, expected: Line) -> None:
    assert only(text) == expected


def test_what_was_written_to_a_cache_is_part_of_openais_input() -> None:
    page = json.loads(exports.openai_usage(DAYS))
    result = page["data"][0]["results"][0]
    page["data"][0]["results"] = [{**result, "input_cache_write_tokens": 5, "input_uncached_tokens": 1}]
    line = only(json.dumps(page))
    assert (line.input, line.cache_write) == (result["input_tokens"], 5)


def test_pages_may_follow_one_another_in_a_list_or_line_by_line() -> None:
    page = exports.openai_usage(DAYS)
    first = json.dumps({**json.loads(page), "has_more": True, "next_page": "page_2"})
    assert len(read(f"[{first}, {page}]".encode()).lines) == 2
    assert len(read(f"{first}\n{page}\n".encode()).lines) == 2
    with pytest.raises(BadStatement, match="add the pages that follow"):
        read(first.encode())


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("", "auto", "the file is empty"),
        ("date,model\n", "auto", "tells of no use"),
        ("a,b\n1,2\n", "auto", "line 1: the header has not the columns that are needed"),
        ("date,model\n2026-11-28,m\n", "openai", "start_time_iso and model"),
        ("date,model,date\n", "csv", "line 1: a column stands there twice"),
        ("date,model\n2026-11-28\n", "auto", "line 2: 1 values where the header has 2 columns"),
        ("date,model\n2026-11-28,m\n28.11.2026,m\n", "auto", "line 3, date: '28.11.2026' is no date"),
        ("date,model,requests\n2026-11-28,m,1.5\n", "auto", "line 2, requests: '1.5' is no whole number"),
        ("date,model,output_tokens\n2026-11-28,m,-1\n", "auto", "line 2, output_tokens: '-1' is no whole number"),
        ("date,model,cost\n2026-11-28,m,NaN\n", "auto", "line 2, cost: 'NaN' is no number"),
        ("date,model,cost\n2026-11-28,m,1e99999\n", "auto", "line 2, cost: '1e99999' is no number"),
        ("date,model,cost\n2026-11-28,m,9000000\n", "auto", "more money than there is"),
        ("date,model\n2026-11-28,\n", "auto", "line 2, model: the model is missing"),
        ("date,model\n2026-11-28,a\x1b[31m\n", "auto", "line 2, model: a name has at most"),
        ("start_time,amount_value,amount_currency,line_item\n1,1,eur,x\n", "auto", "amount_currency: amounts are in"),
        ("{", "auto", "line 1, column 2"),
        ('{"data": 3}', "auto", "data: a list was expected"),
        ('{"data": [{"results": [{"strange": 1}]}]}', "auto", r"data\[0\].results\[0\]: this is no result"),
        ('{"data": [{"results": [{"num_model_requests": 1}]}]}', "auto", r"start_time: 'None' is no date"),
        ("[" * 100_000, "auto", "no JSON that can be read"),
        ("[" + "9" * 5_000 + "]", "auto", "no JSON that can be read"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, form: statements.Form, said: str) -> None:
    with pytest.raises(BadStatement, match=said):
        read(text.encode(), form)


def test_bytes_that_are_no_text_and_files_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadStatement, match="line 2: the file is no UTF-8"):
        read(b"date,model\n\xff")
    monkeypatch.setattr(statements, "MAX_LINES", 1)
    with pytest.raises(BadStatement, match="line 3: there are more than 1 lines"):
        read(b"date,model\n2026-11-28,a\n2026-11-28,b\n")
    monkeypatch.setattr(statements, "MAX_BYTES", 1)
    with pytest.raises(BadStatement, match="larger than"):
        read(b"date,model\n")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"date,model,cost\n2026-11-28,m,1_0\n")
@example(b'{"data":[{"start_time":1e9,"results":[{"line_item":"\\ud800","amount":{"value":1}}]}]}')
def test_any_bytes_are_a_statement_or_told_to_be_none(data: bytes) -> None:
    for form in statements.FORMS:
        said = ""
        try:
            read(data, form)
        except BadStatement as error:
            said = str(error)
        assert said.isprintable()


@given(st.decimals(-8_000_000, 8_000_000, places=12))
def test_money_is_read_exactly(amount: Decimal) -> None:
    assert only(f"date,model,cost\n2026-11-28,m,{amount:f}\n").cost == int(amount * 10**12)

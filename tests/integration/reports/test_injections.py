"""No text of a question ever becomes part of a statement, and each finds what is called so, and nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from job_contracts.spend import AskAttempts, AskComparison, AskForecast, AskSpend
from ledger.tables import metadata
from tests.integration.reports.test_desk import asked, serving
from tests.support.injections import INJECTIONS, statements
from tests.support.ledger_rows import Told, put

QUESTIONS: dict[str, type[AskSpend | AskAttempts | AskComparison | AskForecast]] = {
    "spend": AskSpend,
    "attempts": AskAttempts,
    "compare": AskComparison,
    "forecast": AskForecast,
}
TEXTS = ("project", "provider", "model", "deployment", "route", "key")
MARK = "zqx"
"""Stands in front of every text: what is short may well stand in a statement of our own."""
MARKED = tuple(MARK + text for text in INJECTIONS)
ROWS = [Told(), Told(project="other", tags={"team": "red"})]


async def everything(engine: AsyncEngine) -> dict[str, list[Any]]:
    async with engine.connect() as connection:
        return {
            table.name: sorted(map(repr, (await connection.execute(select(table))).all()))
            for table in metadata.sorted_tables
        }


def fields(kind: type[Any]) -> list[str]:
    """All of a question, those that take no text as well."""
    return [name for name in kind.model_fields if name != "version"]


@pytest.mark.parametrize("operation", QUESTIONS)
async def test_a_text_in_any_field_is_a_value_or_is_refused(engine: AsyncEngine, operation: str) -> None:
    kind = QUESTIONS[operation]
    await put(engine, ROWS)
    before = await everything(engine)
    async with serving(engine) as bus:
        with statements(engine) as heard:
            for number, text in enumerate(MARKED):
                for name in fields(kind):
                    for value in (text, [text], {text: text})[: 1 if number % 8 else 3]:
                        question: dict[str, Any] = {name: value}
                        if name == "tag_value":
                            question["tag"] = text
                        if name == "tag" and operation == "spend":
                            question["by"] = ["tag"]
                        answer = json.loads(await asked(bus, operation, json.dumps(question).encode()))
                        if "refused" in answer:
                            assert answer["refused"]["kind"] == "bad_request", (name, value, answer)
                        elif name in TEXTS or name in {"reason", "failure", "tag_value"}:
                            assert not holds_rows(operation, answer), (name, value, answer)
    assert heard
    assert not [one for one in heard if MARK in one]
    assert await everything(engine) == before


def holds_rows(operation: str, answer: dict[str, Any]) -> bool:
    match operation:
        case "spend":
            return bool(answer["total"]["attempts"])
        case "attempts":
            return bool(answer["rows"])
        case "compare":
            return bool(answer["seen"]["attempts"])
        case _:
            return any(float(row["spent"]) for row in answer["rows"])


async def test_what_is_really_called_so_is_found_alone(engine: AsyncEngine) -> None:
    told = [
        Told(project=text, key=text, route=text, model=text, provider="openai", cost=10 + number, tags={text: text})
        for number, text in enumerate(INJECTIONS)
    ]
    await put(engine, told)
    async with serving(engine) as bus:
        for one in told:
            for name in ("project", "key", "route", "model", "deployment"):
                question = {name: getattr(one, name)}
                sums = json.loads(await asked(bus, "spend", json.dumps(question).encode()))
                assert (sums["total"]["attempts"], float(sums["total"]["cost"])) == (1, (one.cost or 0) / 10**12), (
                    question
                )
            ((name, value),) = one.tags.items()
            question = {"tag": name, "tag_value": value}
            sums = json.loads(await asked(bus, "spend", json.dumps({**question, "by": ["tag"]}).encode()))
            assert [(row["tag"], row["attempts"]) for row in sums["rows"]] == [(value, 1)]
            found = json.loads(await asked(bus, "attempts", json.dumps(question).encode()))
            assert [row["project"] for row in found["rows"]] == [one.project]


@pytest.mark.parametrize("operation", ["spend", "attempts"])
async def test_the_end_of_a_page_is_a_value_too(engine: AsyncEngine, operation: str) -> None:
    await put(engine, ROWS)
    async with serving(engine) as bus:
        with statements(engine) as heard:
            for text in MARKED:
                for keys in ([text], [text, text], [1_790_000_000.0, text]):
                    after = base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")
                    question = {"after": after, **({"by": ["project"]} if operation == "spend" else {})}
                    answer = json.loads(await asked(bus, operation, json.dumps(question).encode()))
                    assert "refused" not in answer or answer["refused"]["kind"] == "bad_request", (keys, answer)
    assert not [one for one in heard if MARK in one]

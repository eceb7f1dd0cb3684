"""The ledger's desk: whatever is asked, there is an answer, and it fits into a message."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.spend import (
    AskAttempts,
    AskComparison,
    AskForecast,
    AskSpend,
    AttemptPage,
    Comparison,
    Forecast,
    Spend,
)
from ledger.desk import Desk
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Unreachable
from runtime.settings import Config
from runtime.telemetry import Telemetry
from tests.support.ledger_rows import Told, put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG = Config.model_validate(
    {
        "providers": {"openai": {"key": "k", "base_url": "http://127.0.0.1:9/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"], "budget": {"week": 2}}},
        "projects": {"default": {"budget": {"total": 1, "soft": True}, "tags": {"team=red": {"hour": 1}}}},
    }
)


@dataclass(frozen=True)
class Opened:
    engine: AsyncEngine


@asynccontextmanager
async def serving(engine: AsyncEngine, *, max_payload: int = 1024 * 1024) -> AsyncIterator[MemoryBus]:
    bus = MemoryBroker(max_payload=max_payload).bus()
    desk = Desk(bus, Opened(engine), {}, CONFIG, Telemetry())
    await desk.stop()
    await desk.start()
    await desk.start()
    yield bus
    await desk.stop()
    await desk.stop()
    with pytest.raises(Unreachable):
        await asked(bus, "spend", b"{}")


async def asked(bus: MemoryBus, operation: Any, question: bytes) -> bytes:
    return (await bus.request(subjects.ledger_desk(operation), question, timeout=10)).data


def refused(answer: bytes) -> Failure:
    return decode(Refusal, answer).refused


async def test_every_question_has_its_answer(engine: AsyncEngine) -> None:
    await put(engine, [Told(tags={"team": "red"}), Told(project="other", won=False)])
    async with serving(engine) as bus:
        assert decode(Spend, await asked(bus, "spend", encode(AskSpend()))).total.attempts == 2
        assert len(decode(AttemptPage, await asked(bus, "attempts", encode(AskAttempts()))).rows) == 2
        compared = decode(Comparison, await asked(bus, "compare", encode(AskComparison())))
        assert [row.deployment for row in compared.rows] == ["openai/gpt-4o-mini"]
        forecast = decode(Forecast, await asked(bus, "forecast", encode(AskForecast(project="default"))))
        told = {(row.payer, row.window): (row.spent, row.soft) for row in forecast.rows}
        assert {payer for payer, _ in told} == {"all", "project", "tag"}
        assert str(told["project", "total"][0]) == "1.000E-9"
        assert told["project", "total"][1] is True


async def test_an_empty_ledger_answers_everything(engine: AsyncEngine) -> None:
    await put(engine, [], read=None)
    async with serving(engine) as bus:
        for operation in ("spend", "attempts", "compare", "drafts", "forecast"):
            assert not (await asked(bus, operation, b"{}")).startswith(b'{"refused"'), operation


@pytest.mark.parametrize(
    ("operation", "question", "field"),
    [
        ("spend", b"", ""),
        ("spend", b'{"version": "9.0"}', "version"),
        ("spend", b'{"by": ["colour"]}', "by[0]"),
        ("spend", b'{"by": ["model", "model"]}', "by"),
        ("spend", b'{"limit": 100000}', "limit"),
        ("spend", b'{"after": "x"}', "after"),
        ("spend", b'{"since": 1e300}', "since"),
        ("attempts", b'{"after": "WzEuMCwiYSJd"}', "after"),
        ("attempts", b'{"model": "a\\u0000b"}', "model"),
        ("compare", b'{"against": ["nobody"]}', "against"),
        ("forecast", b'{"project": "\\u0000"}', "project"),
        ("drafts", b'{"project": "\\u0000"}', "project"),
        ("drafts", b'{"route": "nobody"}', "route"),
        ("drafts", b'{"since": 2, "until": 1}', "until"),
    ],
)
async def test_what_is_asked_wrongly_is_refused_by_name(
    engine: AsyncEngine, operation: str, question: bytes, field: str
) -> None:
    await put(engine, [Told()])
    async with serving(engine) as bus:
        failure = refused(await asked(bus, operation, question))
    assert failure.kind is FailureKind.BAD_REQUEST
    assert (failure.field or "").partition(".")[0] == field


async def test_a_database_that_is_away_is_an_answer_with_when_to_ask_again(tmp_path: Path) -> None:
    away = [
        create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/there/is/none.db", poolclass=NullPool),
        create_async_engine("postgresql+asyncpg://nobody:secret@127.0.0.1:9/none", poolclass=NullPool),
    ]
    questions: Mapping[str, bytes] = dict.fromkeys(("spend", "attempts", "compare", "forecast"), b"{}")
    for engine in away:
        async with serving(engine) as bus:
            for operation, question in questions.items():
                failure = refused(await asked(bus, operation, question))
                assert (failure.kind, failure.retry_after) == (FailureKind.INTERNAL, 2.0)
                assert "secret" not in failure.message


async def test_an_answer_fits_into_a_message_and_its_pages_are_the_whole(engine: AsyncEngine) -> None:
    attempts = [Told(model=f"{number:03}" + "m" * 290, tags={"a" * 200: "b" * 200}) for number in range(40)]
    await put(engine, attempts)
    async with serving(engine, max_payload=20_000) as bus:
        for operation, kind in (("spend", AskSpend(by=("model",))), ("attempts", AskAttempts())):
            seen: list[str] = []
            after = None
            while True:
                answer = await asked(bus, operation, encode(kind.model_copy(update={"after": after})))
                assert len(answer) <= 20_000
                page: Any = decode(Spend if operation == "spend" else AttemptPage, answer)
                seen += [row.model or "" for row in page.rows]
                after = page.after
                if after is None:
                    break
            assert sorted(seen) == [one.model for one in attempts]


async def test_many_questions_at_once_are_all_answered(engine: AsyncEngine) -> None:
    await put(engine, [Told()])
    async with serving(engine) as bus:
        answers = await asyncio.gather(*(asked(bus, "spend", encode(AskSpend())) for _ in range(20)))
    assert {decode(Spend, one).total.attempts for one in answers} == {1}

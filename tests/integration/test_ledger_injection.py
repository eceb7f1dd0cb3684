"""Whatever a client or a provider writes where a query takes text: it is stored as written, and read as stored."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from job_contracts.facts import AttemptFact
from ledger.bookings import booking
from ledger.database import Database
from ledger.store import Store
from ledger.tables import attempts, entries, metadata, sources, spend_tags, tags
from tests.support.ledger_facts import check, fact

CORPUS = (
    *("'", "''", '"', "`", "\\", "\\'", "';", "')", "'))", "'--", "/*", "*/", "#", "\n--\n", "\r\n;"),
    *(
        "' OR '1'='1",
        "' OR 1=1 --",
        "') OR ('1'='1",
        '" OR ""="',
        "1; DROP TABLE attempts",
        "'; DROP TABLE attempts; --",
    ),
    *("' UNION SELECT sql FROM sqlite_master --", "' UNION SELECT usename, passwd, 1 FROM pg_shadow --"),
    *("'||(SELECT version())||'", "'; SELECT pg_sleep(60); --", "$$; DROP TABLE tags; $$", "$tag$x$tag$", "E'\\x27'"),
    *(
        "%s",
        "%(names)s",
        "%%",
        "%",
        "_",
        ":names",
        "::text",
        ":1",
        "$1",
        "?",
        "?1",
        "@a",
        "{x}",
        "{{}}",
        "$(id)",
        "`id`",
    ),
    *("{a,b}", '{"a","b"}', "NULL", "null", "(1,2)", "[]", '["a"]', '"]', "{", "ARRAY['a']", "\\N", "\\.", "\t", ","),
    *("", " ", " a ", "\x7f", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "\ufffd", "\u00e9", "e\u0301", "ß", "\u01c5"),
    *(
        "İ",
        "ı",
        "\uff07",
        "\u02bc",
        "\u2019",
        "\U0001f600",
        "\U0010ffff",
        "日本語",
        "ＳＥＬＥＣＴ",
        "0x27",
        "%27",
        "&#39;",
    ),
)
TEXTS = ("project", "key", "route", "provider", "model", "deployment")


def hostile(number: int, told: str) -> AttemptFact:
    """It stands in each text that a fact has."""
    every = dict.fromkeys((*TEXTS, "price", "failure"), told)
    return fact(number, attempt=f"{told}.{number}", **every, tags={told: told, "plain": told, f"{told}'": "x"})


@pytest.mark.parametrize("together", [True, False])
async def test_each_text_of_a_fact_is_read_back_as_it_was_written(database: Database, together: bool) -> None:
    told = [hostile(number, one) for number, one in enumerate(CORPUS)]
    batches = [told] if together else [told[start : start + 7] for start in range(0, len(told), 7)]
    store = Store(database)
    for seq, batch in enumerate(batches):
        await store.store([booking(one) for one in batch], before=seq, through=seq + 1, at=1.0)
    again = await Store(database).store([booking(one) for one in told], before=len(batches), through=999, at=1.0)
    assert (again.new, again.replaced, again.known) == (0, 0, len(told))
    await check(database, told)
    async with database.engine.connect() as connection:
        rows = await connection.execute(
            select(attempts.c.attempt, attempts.c.price, attempts.c.failure, *(sources.c[name] for name in TEXTS))
            .join(sources, sources.c.id == attempts.c.source)
            .order_by(attempts.c.id)
        )
        expected = [(f"{one}.{number}", *(one,) * (2 + len(TEXTS))) for number, one in enumerate(CORPUS)]
        assert [(first, price, failure or "", *rest) for first, price, failure, *rest in rows] == expected
        named = {tuple(row) for row in await connection.execute(select(tags.c.project, tags.c.name, tags.c.value))}
        assert named == {(one, *tag) for one in CORPUS for tag in ((one, one), ("plain", one), (f"{one}'", "x"))}
        accounts = {row[0] for row in await connection.execute(select(entries.c.credit))}
        assert accounts >= {f"provider:{one}" for one in CORPUS} | {f"budget:{one}" for one in CORPUS}
        assert (await connection.execute(select(func.count()).select_from(spend_tags))).scalar_one() == 3 * len(named)


async def test_a_heavier_fact_finds_the_one_whose_name_is_as_hostile(database: Database) -> None:
    light = [hostile(number, one).model_copy(update={"won": False}) for number, one in enumerate(CORPUS)]
    heavy = [hostile(number, one) for number, one in enumerate(CORPUS)]
    store = Store(database)
    await store.store([booking(one) for one in light], before=0, through=1, at=1.0)
    stored = await store.store([booking(one) for one in heavy], before=1, through=2, at=1.0)
    assert (stored.new, stored.replaced) == (0, len(CORPUS))
    await check(database, [*light, *heavy])
    async with database.engine.connect() as connection:
        for table in metadata.sorted_tables:  # all of them are still there
            await connection.execute(select(func.count()).select_from(table))

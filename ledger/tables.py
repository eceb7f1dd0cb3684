"""The schema. Money is whole picodollars (``job_contracts.money``), times are UTC seconds; content is in none of it.

``attempts`` has one row an attempt, ``entries`` its double entries, ``spend`` and ``spend_tags`` the sums that reports
read: by the hour and by the day, for ever. Where an attempt ran for whom is a row of ``sources``, so the large tables
stay narrow. ``positions`` says how far a stream is read; it moves in the transaction that stores what was read.
``missed`` has what the stream no longer held when it came to be read: what no sum can know.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Big = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only where it says INTEGER

positions = Table(
    "positions",
    metadata,
    Column("stream", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", Float, nullable=False),  # when the newest fact read was stored at the broker
)

missed = Table(
    "missed",
    metadata,
    Column("stream", String(64), primary_key=True),
    Column("first", BigInteger, primary_key=True),  # the sequences that the stream had let go before they were read
    Column("last", BigInteger, nullable=False),
    Column("at", Float, nullable=False),  # when that was found
)

sources = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(64), nullable=False),
    Column("key", String(64), nullable=False),  # id of the virtual key, "" where none is known
    Column("route", String(200), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(300), nullable=False),
    Column("deployment", String(400), nullable=False),
    UniqueConstraint("project", "key", "route", "deployment", "provider", "model"),
    sqlite_autoincrement=True,  # the id of one that is gone is nobody else's: who knew it would write sums of another
)

tags = Table(
    "tags",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("value", String(200), nullable=False),
    UniqueConstraint("project", "name", "value"),
    sqlite_autoincrement=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Big, primary_key=True),
    Column("attempt", String(200), nullable=False, unique=True),
    Column("source", ForeignKey("sources.id"), nullable=False),
    Column("at", Float, nullable=False),  # the moment whose hour and day it counts in
    Column("seconds", Float, nullable=False),
    Column("first_token", Float),
    Column("reason", String(16), nullable=False),
    Column("failure", String(64)),
    Column("won", Boolean, nullable=False),
    Column("told_by", String(16), nullable=False),  # worker, leader, statement
    Column("reported", Boolean, nullable=False),  # whether the provider told the usage
    Column("stated", Boolean, nullable=False),  # whether it told the cost
    Column("price", String(128)),
    Column("input", BigInteger, nullable=False),  # the whole prompt, cached tokens included
    Column("cache_read", BigInteger, nullable=False),
    Column("cache_write", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False),  # reasoning included
    Column("reasoning", BigInteger, nullable=False),
    Column("cost", BigInteger),  # NULL: not known
    Column("reserved", BigInteger),
    Column("tags", Text),  # JSON, NULL without any
    Index(None, "at", "id"),
    Index(None, "source", "at"),
)

entries = Table(
    "entries",
    metadata,
    Column("id", Big, primary_key=True),
    Column("attempt", ForeignKey("attempts.id"), nullable=False, index=True),
    Column("kind", String(8), nullable=False),  # reserve, settle, release, correct
    Column("debit", String(100), nullable=False),
    Column("credit", String(100), nullable=False),
    Column("amount", BigInteger, nullable=False),
)


def _sums() -> list[Column[int]]:
    return [
        Column(name, BigInteger, nullable=False, default=0)
        for name in (
            *(
                "attempts",
                "won",
                "unpriced",
                "estimated",
            ),  # how many; unpriced: cost not known; estimated: usage not told
            *("input", "cache_read", "cache_write", "output", "reasoning"),
            *("cost", "waste"),  # waste: the part of it that attempts cost which did not win
        )
    ]


spend = Table(
    "spend",
    metadata,
    Column("grain", SmallInteger, primary_key=True),  # seconds / 3600: 1 an hour, 24 a day
    Column("start", BigInteger, primary_key=True),
    Column("source", ForeignKey("sources.id"), primary_key=True),
    Column("reason", String(16), primary_key=True),
    *_sums(),
)

spend_tags = Table(
    "spend_tags",
    metadata,
    Column("grain", SmallInteger, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("tag", ForeignKey("tags.id"), primary_key=True),
    Column("source", ForeignKey("sources.id"), primary_key=True),
    *_sums(),
)

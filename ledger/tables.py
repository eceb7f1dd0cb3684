"""The schema. Money is whole picodollars (``job_contracts.money``), times are UTC seconds; content is in none of it.

``attempts`` has one row an attempt, ``entries`` its double entries, ``spend`` and ``spend_tags`` the sums that reports
read: by the hour, the day and the month, for ever. Where an attempt ran for whom is a row of ``sources``, for which arm
of an experiment one of ``arms``, so the large tables stay narrow. ``positions`` says how far a stream is read; it moves
in the transaction that stores what was read. A second row says when the stream was made that the place is of.
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
    text,
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

arms = Table(
    "arms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("experiment", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    UniqueConstraint("experiment", "name"),
)

_FAILED = text("failure IS NOT NULL")
_JUDGED = text("verdict IS NOT NULL")
_TRIED = text("arm IS NOT NULL")

attempts = Table(
    "attempts",
    metadata,
    Column("id", Big, primary_key=True),
    Column("attempt", String(200), nullable=False),
    Column("source", ForeignKey("sources.id"), nullable=False),
    Column("submitted", BigInteger, nullable=False),  # of its job, UTC milliseconds: the same job may be again later
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
    Column("verdict", String(32)),  # what it said of another answer
    Column("arm", ForeignKey("arms.id")),  # that its job was in; NULL: in no experiment, or told by an older version
    Column("tags", Text),  # JSON, NULL without any
    UniqueConstraint("attempt", "submitted"),
    Index(None, "at", "id"),
    Index(None, "source", "at"),
    Index(None, "failure", "at", "id", postgresql_where=_FAILED, sqlite_where=_FAILED),
    Index(None, "verdict", "at", postgresql_where=_JUDGED, sqlite_where=_JUDGED),
    Index(None, "arm", "won", "at", "id", postgresql_where=_TRIED, sqlite_where=_TRIED),
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
    Column("grain", SmallInteger, primary_key=True),  # of hours: 1, a day: 24, a calendar month (UTC): 720
    Column("start", BigInteger, primary_key=True),
    Column("source", ForeignKey("sources.id"), primary_key=True),
    Column("reason", String(16), primary_key=True),
    *_sums(),
    Index(None, "source", "grain", "start"),
)

spend_tags = Table(
    "spend_tags",
    metadata,
    Column("grain", SmallInteger, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("tag", ForeignKey("tags.id"), primary_key=True),
    Column("source", ForeignKey("sources.id"), primary_key=True),
    *_sums(),
    Index(None, "tag", "grain", "start"),
)

statements = Table(
    "statements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of what was imported
    Column("at", Float, nullable=False),
    Column("first_day", BigInteger, nullable=False),
    Column("last_day", BigInteger, nullable=False),
    Column("drift", Float, nullable=False),  # the largest share of a day and model
    Column("over", Boolean, nullable=False),
    UniqueConstraint("provider", "digest"),
)

statement_lines = Table(
    "statement_lines",
    metadata,
    Column("statement", ForeignKey("statements.id"), primary_key=True),
    Column("day", BigInteger, primary_key=True),
    Column("model", String(300), primary_key=True),
    *(
        Column(name, BigInteger)  # NULL: the statement does not tell
        for name in ("requests", "input", "cache_read", "cache_write", "output", "cost")
    ),
    Column("cause", String(16), nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(400), nullable=False, unique=True),  # what it is about: told once
    Column("kind", String(16), nullable=False),
    Column("project", String(64)),
    Column("at", Float, nullable=False),
    Column("body", Text, nullable=False),  # JSON, as it is posted
    Column("due", Float, index=True),  # when it is posted next; NULL: it was, or it is not to be
    Column("tries", Integer, nullable=False, default=0),
)

forgotten = Table(
    "forgotten",
    metadata,
    Column("id", Big, primary_key=True),  # append-only: who was forgotten, when it was asked, and what went
    Column("project", String(64), nullable=False, index=True),
    Column("at", Float, nullable=False),  # facts of the project up to here do not come back
    Column("what", String(8), nullable=False),  # begun, done
    Column("attempts", BigInteger, nullable=False, default=0),
    Column("entries", BigInteger, nullable=False, default=0),
    Column("sums", BigInteger, nullable=False, default=0),
)

"""The generated files beside the code say what the code says."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

from job_contracts.codec import Wire
from job_contracts.messages import MESSAGES
from tests.support.docstrings import models_in
from tests.support.generated import SCHEMAS, generated, outdated, write

ROOMS = ("attempts", "chat", "desk", "facts", "failures", "jobs", "results", "stream")


def test_the_committed_files_are_what_the_code_says() -> None:
    assert outdated() == [], "run `make fix`"


def test_every_message_of_the_rooms_travels_or_is_part_of_one_that_does() -> None:
    known = {part for kind in MESSAGES.values() for part in models_in(kind).values()}
    rooms = [importlib.import_module(f"job_contracts.{room}") for room in ROOMS]
    written = {
        thing
        for room in rooms
        for thing in vars(room).values()
        if inspect.isclass(thing) and issubclass(thing, Wire) and thing.__module__ == room.__name__
    }
    events = {thing for thing in written if thing.__name__ in EVENTS}
    assert {thing.__name__ for thing in written - known - events} == set()


EVENTS = {
    "Event",
    "Finished",
    "Queued",
    "ReasoningToken",
    "Started",
    "Switched",
    "Token",
    "ToolCall",
    "UsageReported",
}
"""What a producer's program sees; they are made in the SDK and travel nowhere."""


def test_a_changed_a_missing_and_a_left_over_file_are_noticed_and_repaired(tmp_path: Path) -> None:
    assert write(tmp_path) == list(generated())
    assert outdated(tmp_path) == []
    changed, missing, left_over = (f"{SCHEMAS}/{name}.json" for name in ("job", "ticket", "of_old"))
    (tmp_path / changed).write_text("{}\n")
    (tmp_path / missing).unlink()
    (tmp_path / left_over).write_text("{}\n")
    assert outdated(tmp_path) == sorted([changed, missing, left_over])
    assert sorted(write(tmp_path)) == sorted([changed, missing, left_over])
    assert outdated(tmp_path) == []


def test_the_schemas_explain_their_fields() -> None:
    ticket = json.loads(generated()[f"{SCHEMAS}/ticket.json"])
    assert "producer's clock" in ticket["properties"]["submitted"]["description"]


def test_the_configurations_schema_takes_what_people_write() -> None:
    schema = json.loads(generated()["docs/reference/penstock.schema.json"])
    times = schema["$defs"]["WrittenTimes"]["properties"]
    assert {"ttft", "first_token", "stall", "total", "connect"} == set(times)
    assert {"type": "string", "pattern": r"\$\{"} in schema["$defs"]["Provider"]["properties"]["slots"]["anyOf"]
    sections = [part for part in [schema, *schema["$defs"].values()] if "properties" in part]
    assert all(part["additionalProperties"] is False for part in sections)

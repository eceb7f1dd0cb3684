"""Old readers and new writers, new readers and old writers: what minor and major versions may change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import create_model

from job_contracts.codec import VERSION, ContractError, Wire, decode, encode
from job_contracts.facts import AttemptFact
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Cancel
from job_contracts.messages import MESSAGES, schema
from tests.support import schemas
from tests.support.strategies import EVERY_MESSAGE, all_failures, attempt_facts

MAJOR, _, MINOR = VERSION.partition(".")
NEWER = f"{MAJOR}.{int(MINOR) + 7}"
WRITTEN_BY_1_0: dict[str, Any] = json.loads((Path(__file__).parent / "written_by_1_0.json").read_text(encoding="utf-8"))
"""One of each message, as version 1.0 wrote it: what lies in streams may be as old. Add to it, change nothing in it."""

few = settings(max_examples=20)
versioned = pytest.mark.parametrize("name", [name for name in MESSAGES if name != "refusal"])

ANY_NAME = {
    "tags",
    "headers",
    "limits",
    "parameters",
    "json_schema",
    "detail",
    "queued",
    "in_force",
    "weights",
    "parts",
}
"""Fields that hold names of their author's choice: nothing is unknown there."""
BOUNDS = {"scope", "constraints"}
"""What a key may do: a bound that a reader does not know must not be passed over, so the record is not read."""


def test_every_message_but_a_refusal_says_its_version() -> None:
    assert [name for name, kind in MESSAGES.items() if "version" not in kind.model_fields] == ["refusal"]


@pytest.mark.parametrize("name", WRITTEN_BY_1_0)
def test_what_version_1_0_wrote_is_read_and_means_the_same(name: str) -> None:
    message = decode(MESSAGES[name], json.dumps(WRITTEN_BY_1_0[name]))
    assert contains(json.loads(encode(message)), WRITTEN_BY_1_0[name])


@versioned
@few
@given(data=st.data())
def test_fields_of_a_newer_minor_version_are_ignored_at_every_level(name: str, data: st.DataObject) -> None:
    message = data.draw(EVERY_MESSAGE[name])
    newer = with_unknown_fields(json.loads(encode(message))) | {"version": NEWER}
    assert decode(MESSAGES[name], json.dumps(newer)) == message.model_copy(update={"version": NEWER})


@pytest.mark.parametrize("name", MESSAGES)
@few
@given(data=st.data())
def test_a_reader_that_knows_the_required_fields_alone_reads_what_is_written_today(
    name: str, data: st.DataObject
) -> None:
    message = data.draw(EVERY_MESSAGE[name])
    older = required_alone(MESSAGES[name])
    read = decode(older, encode(message))
    assert {field: getattr(read, field) for field in older.model_fields} == {
        field: getattr(message, field) for field in older.model_fields
    }


PINNED = sorted(path.stem for path in schemas.VERSION_1_0.glob("*.json") if path.stem in MESSAGES)


@pytest.mark.parametrize("name", PINNED)
@few
@given(data=st.data())
def test_what_is_written_today_breaks_nothing_in_the_schema_of_1_0_but_for_further_fields(
    name: str, data: st.DataObject
) -> None:
    message = json.loads(encode(data.draw(EVERY_MESSAGE[name])))
    seen = schemas.read(name, message)
    assert not seen.problems
    assert contains(message, seen.value)


@pytest.mark.parametrize("name", PINNED)
def test_no_field_of_1_0_is_gone_and_none_is_asked_for_that_1_0_did_not_write(name: str) -> None:
    then, now = schemas.pinned(name), schema(name)
    parts = {"": (then, now)} | {part: (old, now["$defs"][part]) for part, old in then.get("$defs", {}).items()}
    for part, (old, new) in parts.items():
        assert old.get("properties", {}).keys() <= new.get("properties", {}).keys(), part
        assert set(new.get("required", ())) <= set(old.get("required", ())), part


def test_a_reader_of_1_0_drops_what_it_does_not_know_and_stumbles_over_what_it_cannot_read() -> None:
    written = WRITTEN_BY_1_0["outcome"]
    newer = with_unknown_fields(written)
    assert schemas.read("outcome", newer).value == schemas.read("outcome", written).value
    assert not schemas.read("outcome", newer).problems
    for broken in (
        {key: value for key, value in written.items() if key != "job_id"},
        written | {"job_id": 7},
        written | {"version": "2.0"},
        written | {"record": written["record"] | {"seconds": "long"}},
    ):
        assert schemas.read("outcome", broken).problems
    assert schemas.read("job", WRITTEN_BY_1_0["job"] | {"lane": "a lane of later"}).problems


@pytest.mark.parametrize("name", MESSAGES)
def test_the_published_schema_lets_fields_of_a_newer_version_pass(name: str) -> None:
    parts = [schema(name), *schema(name).get("$defs", {}).values()]
    strict = {part["title"] for part in parts if part.get("additionalProperties") is False}
    assert strict <= {"Scope", "Budget", "Constraints"}, "a bound of a newer version must not be passed over"
    assert ("Scope" in strict) == (name in {"key_record", "key_page", "ask_new_key", "key_done"})


@given(all_failures, attempt_facts)
def test_a_kind_of_failure_that_is_not_known_yet_reads_as_internal(failure: Failure, fact: AttemptFact) -> None:
    newer = json.loads(encode(failure)) | {"kind": "invented_later"}
    assert decode(Failure, json.dumps(newer)) == failure.model_copy(update={"kind": FailureKind.INTERNAL})
    told = json.loads(encode(fact)) | {"failure": "invented_later"}
    assert decode(AttemptFact, json.dumps(told)).failure is FailureKind.INTERNAL


@versioned
@pytest.mark.parametrize("version", [f"{int(MAJOR) + 1}.0", "0.9", "", "1", "1.", "1.x", "one", "1.0\n"])
def test_another_major_version_is_refused_in_words_a_person_understands(name: str, version: str) -> None:
    written = json.dumps(WRITTEN_BY_1_0[name] | {"version": version})
    with pytest.raises(ContractError) as refused:
        decode(MESSAGES[name], written)
    assert refused.value.field == "version"
    assert f"version {version!r} cannot be read here: this side reads {MAJOR}.x" in str(refused.value)
    assert refused.value.remedy == "bring both sides to the same major version"


def test_a_message_without_a_version_is_taken_for_one_of_this_version() -> None:
    assert decode(Cancel, b'{"job": "a-b", "token": "t"}').version == VERSION


def with_unknown_fields(value: Any) -> Any:
    """What a writer of a newer minor version sends: further fields at every level."""
    if isinstance(value, list):
        return [with_unknown_fields(member) for member in value]
    if not isinstance(value, dict):
        return value
    known = {
        name: member if name in ANY_NAME | BOUNDS else with_unknown_fields(member) for name, member in value.items()
    }
    return known | {"added_in_a_newer_version": {"with": ["structure", None, 1.5]}}


def required_alone(kind: type[Wire]) -> type[Wire]:
    """The reader of the first version of a message: a field that came later has a default."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in kind.model_fields.items() if field.is_required()
    }
    return create_model(f"First{kind.__name__}", __base__=Wire, **fields)


def contains(now: Any, then: Any) -> bool:
    """Whether everything that was said then is still said."""
    match now, then:
        case dict(), dict():
            return all(key in now and contains(now[key], then[key]) for key in then)
        case list(), list():
            return len(now) == len(then) and all(map(contains, now, then))
        case _:
            return bool(now == then)

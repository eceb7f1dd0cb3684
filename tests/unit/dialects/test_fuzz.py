"""No bytes make a reader raise, and no broken ones become an answer with words that were never sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_contracts.codec import encode
from job_contracts.failures import Failure
from tests.support.strategies_plain import json_values
from tests.unit.dialects.samples import DOCUMENTS, STREAMS, decoder, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
often = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def outcome(dialect: str, body: bytes, size: int, content_type: str) -> Decoded | Failure:
    reader = decoder(dialect, content_type=content_type, max_bytes=100_000)
    for at in range(0, len(body), size):
        for delta in reader.feed(body[at : at + size]):
            encode(delta)
        assert reader.partial.output_characters >= 0
    found = reader.finish()
    if isinstance(found, Decoded):
        encode(found.answer)  # what a reader lets through can be sent on
    else:
        encode(found)
    return found


content_types = st.sampled_from(["text/event-stream", "application/json", "text/html", ""])
sizes = st.integers(1, 400)


@every_dialect
@often
@given(body=st.binary(max_size=400), size=sizes, content_type=content_types)
def test_random_bytes(dialect: str, body: bytes, size: int, content_type: str) -> None:
    assert isinstance(outcome(dialect, body, size, content_type), Failure)


@every_dialect
@often
@given(data=st.data(), size=sizes, content_type=content_types)
def test_answers_with_bytes_changed_cut_out_and_repeated(
    dialect: str, data: st.DataObject, size: int, content_type: str
) -> None:
    body = bytearray(data.draw(st.sampled_from([STREAMS[dialect], DOCUMENTS[dialect]])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        match data.draw(st.integers(0, 2)):
            case 0:
                body[at : at + 1] = data.draw(st.binary(min_size=1, max_size=3))
            case 1:
                del body[at : at + data.draw(st.integers(1, 60))]
            case _:
                body[at:at] = body[at : at + data.draw(st.integers(1, 60))]
    outcome(dialect, bytes(body), size, content_type)


def replaced(value: Any, path: list[Any], new: Any) -> Any:
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[list[Any]]:
    found = [list(before)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += paths(item, (*before, key))
    return found


@every_dialect
@often
@given(data=st.data(), new=json_values, size=sizes)
def test_json_with_any_value_anywhere(dialect: str, data: st.DataObject, new: object, size: int) -> None:
    document = json.loads(DOCUMENTS[dialect])
    changed = replaced(document, data.draw(st.sampled_from(paths(document))), new)
    outcome(dialect, json.dumps(changed).encode(), size, "application/json")


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if b"data: {" in STREAMS[name]])
@often
@given(data=st.data(), new=json_values, size=sizes)
def test_streams_with_any_value_anywhere(dialect: str, data: st.DataObject, new: object, size: int) -> None:
    lines = STREAMS[dialect].decode().split("\n")
    places = [at for at, line in enumerate(lines) if line.startswith(("data: {", "{"))]
    place = data.draw(st.sampled_from(places))
    before, brace, rest = lines[place].partition("{")
    chunk = json.loads(brace + rest)
    lines[place] = before + json.dumps(replaced(chunk, data.draw(st.sampled_from(paths(chunk))), new))
    outcome(dialect, "\n".join(lines).encode(), size, "text/event-stream")


@every_dialect
@often
@given(
    status=st.integers(100, 599),
    body=st.binary(max_size=300) | json_values.map(lambda value: json.dumps({"error": value}).encode()),
    headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text(max_size=20)),
)
def test_error_answers_of_any_kind(dialect: str, status: int, body: bytes, headers: dict[str, str]) -> None:
    failure = DIALECTS[dialect].failure(target(dialect), status, headers, body)
    assert failure.status == status
    assert len(failure.message) < 1000
    encode(failure)
    DIALECTS[dialect].limits(target(dialect), headers)

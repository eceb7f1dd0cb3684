"""One class for one failure, whoever reports it and wherever: by status, inside an answer, mid-stream."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from catalogue.quirks import Quirks, quirks_of
from job_contracts.failures import Failure
from tests.conformance.failure_table import TABLE, Row
from tests.conformance.recordings import ROOT, needs_recordings, rows
from workers.dialects.failures import classify, classify_in_band

CATEGORY_OF = {"malformed_response": "server_error", "reset": "connection", "connect": "connection"}


def quirks(provider: str, model: str = "m") -> Quirks:
    row = rows().get(provider)
    return quirks_of(row, row.model(model)) if row is not None else Quirks()


def outcome(row: Row) -> Failure:
    provider, status, headers, body, _, _ = row
    if not status:
        return classify_in_band(body, quirks(provider))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, headers, data, quirks(provider))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[4].value}-{row[0] or 'any'}-{row[1] or 'in-band'}")
def test_each_failure_of_each_provider_is_of_its_kind_and_says_how_long_to_wait(row: Row) -> None:
    found = outcome(row)
    assert (found.kind, found.retry_after) == (row[4], None if row[5] is None else pytest.approx(row[5])), found


@pytest.mark.parametrize("row", [row for row in TABLE if isinstance(row[3], dict) and row[1] >= 400], ids=str)
def test_the_same_error_inside_an_answer_is_of_the_same_class_where_the_body_tells_it(row: Row) -> None:
    """Some bodies say nothing without their status; those that name a code or a wording must say the same."""
    provider, status, headers, body, kind, _ = row
    inside = {**body, "status_code": status, "__type": headers.get("x-amzn-errortype", body.get("__type", ""))}
    assert classify_in_band(inside, quirks(provider)).kind is kind


# -- recorded


MISLABELLED: Mapping[str, str] = {}
"""Recorded failures whose label is wrong, each with the reason."""


def recorded_failures() -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]:
    """Index row, exchange and expectation of every recorded failure, whatever the endpoint."""
    folder = ROOT / "open"
    for row in json.loads((folder / "index.json").read_text("utf-8")):
        expected = folder / "expected" / f"{row['id']}.json"
        if expected.is_file():
            wanted = json.loads(expected.read_text("utf-8")).get("expected_error")
            if wanted and wanted["category"] != "ok":
                yield row, json.loads((folder / row["file"]).read_text("utf-8"))["response"], wanted


def error_inside(response: Mapping[str, Any]) -> Any:
    """The error object inside an answer with a good status, as a dialect hands it on; ``None`` if there is none."""
    if "body_base64" in response:
        data = base64.b64decode(response["body_base64"])
        _, exception, after = data.partition(b":exception-type\x07\x00")
        if not exception:
            return None
        name = after[1 : 1 + after[0]].decode()
        return {"type": name, **json.loads(after[after.index(b"{") : after.rindex(b"}") + 1])}
    for line in (response["body"], *response["body"].splitlines()):
        try:
            value = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue
        if not isinstance(value, dict):
            continue
        response_object = value.get("response")
        inner = response_object if isinstance(response_object, dict) else value
        if inner.get("error") or value.get("type") == "error" or (value.get("base_resp") or {}).get("status_code"):
            return value
    return None


@needs_recordings
def test_recorded_failures_of_every_endpoint_are_classified_as_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for row, response, wanted in recorded_failures():
        known = quirks(row["provider"], row["model"] or "unnamed")
        if response["status"] >= 300:
            data = base64.b64decode(response["body_base64"]) if "body_base64" in response else response["body"].encode()
            headers = {
                name.lower(): str(value[-1] if isinstance(value, list) else value)
                for name, value in response["headers"].items()
            }
            found = classify(response["status"], headers, data, known)
        else:
            error = error_inside(response)
            if error is None:
                counts["told by the end of the answer, not by an error"] += 1
                continue
            found = classify_in_band(error, known)
        counts["failures"] += 1
        kind = CATEGORY_OF.get(found.kind.value, found.kind.value)
        wait = wanted.get("retry_after_s")
        near = not wait or (found.retry_after is not None and 0.8 * wait <= found.retry_after <= 1.5 * wait + 1)
        if kind in wanted["accept"] and near:
            counts["as labelled"] += 1
        elif row["id"] not in MISLABELLED:
            wrong.append(f"{row['id']}: {kind} after {found.retry_after} s is not {wanted}")
    with capsys.disabled():
        print(f"\n{dict(counts)}")
    assert counts["failures"]
    assert counts["as labelled"] >= 0.97 * counts["failures"]
    assert not wrong, "\n".join(wrong)

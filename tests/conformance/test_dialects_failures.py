"""One class for one failure, whoever reports it and wherever: by status, inside an answer, mid-stream.

``failures.jsonl`` holds the failures of every provider as their documentation and their users describe them, one a
line: the kind it is, seconds to wait if any are stated, the provider whose quirks apply (absent: none), the status
(absent: it came inside an answer), headers, and the body as JSON or as text. The sentences are our own after the sense
of the originals; codes and the words that tell the kind are the providers'.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalogue.quirks import Quirks, quirks_of
from tests.conformance.recordings import ROOT, needs_recordings, rows
from workers.dialects.failures import classify, classify_in_band

CATEGORY_OF = {"malformed_response": "server_error", "reset": "connection", "connect": "connection"}
TABLE: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("failures.jsonl").read_text("utf-8").splitlines()
]
BY_STATUS = [row for row in TABLE if "status" in row]
INSIDE = [row for row in TABLE if "status" not in row]


def name(row: Mapping[str, Any]) -> str:
    return f"{row['kind']}-{row.get('provider', 'any')}-{row.get('status', 'inside')}"


def quirks(provider: str | None, model: str = "m") -> Quirks:
    row = rows().get(provider or "")
    return quirks_of(row, row.model(model)) if row is not None else Quirks()


def waits(row: Mapping[str, Any]) -> Any:
    return pytest.approx(row["wait"]) if "wait" in row else None


@pytest.mark.parametrize("row", BY_STATUS, ids=name)
def test_each_failure_of_each_provider_is_of_its_kind_and_says_how_long_to_wait(row: dict[str, Any]) -> None:
    data = row["text"].encode() if "text" in row else json.dumps(row["body"]).encode()
    found = classify(row["status"], row.get("headers", {}), data, quirks(row.get("provider")))
    assert (found.kind.value, found.retry_after) == (row["kind"], waits(row)), found


@pytest.mark.parametrize("row", INSIDE, ids=name)
def test_an_error_inside_an_answer_is_of_its_kind(row: dict[str, Any]) -> None:
    found = classify_in_band(row["body"], quirks(row.get("provider")))
    assert (found.kind.value, found.retry_after) == (row["kind"], waits(row)), found


@pytest.mark.parametrize("row", [row for row in BY_STATUS if isinstance(row.get("body"), dict)], ids=name)
def test_the_same_error_inside_an_answer_is_of_the_same_class(row: dict[str, Any]) -> None:
    """What the status and AWS's header told is then told by the body."""
    errortype = row.get("headers", {}).get("x-amzn-errortype", row["body"].get("__type", ""))
    inside = {**row["body"], "status_code": row["status"], "__type": errortype}
    assert classify_in_band(inside, quirks(row.get("provider"))).kind.value == row["kind"]


def test_the_table_has_every_kind_that_an_answer_can_be() -> None:
    kinds = Counter(row["kind"] for row in TABLE)
    assert len(kinds) == 14
    assert {row.get("provider") for row in TABLE} >= {"azure", "cerebras", "deepseek", "fireworks", "groq", "minimax"}
    assert min(kinds.values()) >= 1


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

"""Recorded requests as conversations, and as requests again: what matters in them comes through."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from job_contracts.codec import ContractError
from tests.conformance.essence import essence
from tests.conformance.recordings import OURS, Exchange, exchanges, needs_recordings
from tests.conformance.translate import Translated, Untranslatable, translate
from workers.dialects import DIALECTS
from workers.dialects.port import Target

pytestmark = needs_recordings

FAMILY = "recorded"
"""The origin given to recorded signatures, and the family of the models they are sent back to."""


REFUSALS = {
    *("refuses", "effort_refuses", "efforts", "schema_as", "system_role", "developer_role", "file_as", "audio_as"),
    *("tool_choices", "reasoning_tool_choices", "strict_subset"),
}
"""Quirks by which a row avoids a provider's refusal."""


def target(exchange: Exchange) -> Target:
    """The recorded model as its row has it; where the provider refused the request, without what avoids refusals."""
    found = exchange.target
    changes: dict[str, Any] = {"family": FAMILY, "max_output": None}
    if exchange.status >= 300:
        quirks = found.model.quirks.items()
        changes["quirks"] = {name: value for name, value in quirks if name not in REFUSALS} | {"strict_subset": False}
    return Target(provider=found.provider, model=found.model.model_copy(update=changes), stream=found.stream)


def translated(exchange: Exchange) -> Translated | str:
    """The conversation, or why there is none."""
    try:
        return translate(exchange.dialect, exchange.request, family=FAMILY, model=exchange.model)
    except Untranslatable as error:
        return error.reason
    except ContractError as error:
        return str(error)


def without_dropped(body: Any, field: str) -> Any:
    return {name: value for name, value in body.items() if name != field}


@pytest.mark.parametrize("provider", [*OURS, "every other provider"])
def test_a_recorded_request_translated_and_encoded_again_asks_the_same(
    provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for exchange in exchanges():
        if (exchange.provider if exchange.provider in OURS else "every other provider") != provider:
            continue
        if not isinstance(exchange.request, Mapping) or not exchange.request:
            continue
        counts["requests"] += 1
        found = translated(exchange)
        if isinstance(found, str):
            counts["not for a conversation"] += 1
            continue
        encoded = DIALECTS[exchange.dialect].encode(found.conversation, target(exchange))
        was = essence(exchange.dialect, exchange.request)
        now = essence(exchange.dialect, json.loads(encoded.body))
        for loss in encoded.losses:
            if loss.kind in {"dropped", "clamped"} and loss.field.startswith("settings."):
                was = without_dropped(was, loss.field.removeprefix("settings."))
        if was == now:
            counts["equal"] += 1
        else:
            wrong.append(f"{exchange.id}:\n  was {_apart(was, now)}\n  now {_apart(now, was)}\n  {encoded.losses}")
    with capsys.disabled():
        print(
            f"\n{provider}: {counts['equal']} of {counts['requests']} recorded requests come out the same, "
            f"{counts['not for a conversation']} ask for what a conversation has no place for"
        )
    assert counts["requests"]
    assert not wrong, "\n".join(wrong)


def _apart(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """What is in the first and not the same in the second, to explain a failure."""
    return str({name: value for name, value in first.items() if second.get(name) != value})[:1500]

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from catalogue.quirks import Quirks, quirks_of
from catalogue.rows import ModelRow, ProviderRow


def provider(*models: dict[str, Any], **quirks: Any) -> ProviderRow:
    return ProviderRow.model_validate(
        {"name": "p", "dialect": "openai_chat", "base_url": "https://p.invalid", "models": models, "quirks": quirks}
    )


def window(row: ProviderRow, name: str) -> int | None:
    return row.model(name).context_window


def test_the_most_literal_pattern_wins_whatever_the_order() -> None:
    models = [
        {"name": "*", "context_window": 1},
        {"name": "gpt-5*", "context_window": 2},
        {"name": "gpt-5.[1-9]*", "context_window": 3},
        {"name": "gpt-5.1*", "context_window": 4},
        {"name": "gpt-5.1-mini", "aliases": ["tiny", "small-*"], "context_window": 5},
    ]
    for row in (provider(*models), provider(*reversed(models))):
        assert [window(row, name) for name in ("x", "gpt-5", "gpt-5.2-pro", "gpt-5.1-x", "gpt-5.1-mini")] == [
            1,
            2,
            3,
            4,
            5,
        ]
        assert window(row, "tiny") == window(row, "small-one") == 5
        assert row.model("small-one").name == "small-one"


def test_an_unknown_model_has_a_row_without_facts() -> None:
    assert provider().model("new") == ModelRow(name="new")


def test_the_same_name_gives_the_same_row() -> None:
    row = provider({"name": "a*"})
    assert row.model("abc") is row.model("abc")
    assert row.model("abc") is not row.model("abd")
    for number in range(10_000):
        row.model(f"a{number}")
    assert row.model("abc").name == "abc"


def test_a_models_quirks_override_its_providers() -> None:
    row = provider({"name": "a*", "quirks": {"stop_max": 1}}, stop_max=4, seed_field="random_seed")
    quirks = quirks_of(row, row.model("a1"))
    assert (quirks.stop_max, quirks.seed_field) == (1, "random_seed")
    assert quirks_of(row, row.model("b")).stop_max == 4
    assert quirks_of(row, row.model("a1")) is quirks


def test_rows_that_are_gone_are_not_taken_for_new_ones() -> None:
    for number in range(1, 3000):
        row = provider(stop_max=number)
        assert quirks_of(row, row.model("m")).stop_max == number


@pytest.mark.parametrize(
    ("quirks", "where"),
    [
        ({"refusess": ["temperature"]}, "refusess"),
        ({"refuses": ["temprature"]}, "refuses"),
        ({"stop_max": "many"}, "stop_max"),
        ({"thinking": "often"}, "thinking"),
        ({"error_kinds": ["1113"]}, "error_kinds"),
        ({"error_kinds": ["1113=poverty"]}, "error_kinds"),
    ],
)
def test_a_quirk_that_means_nothing_is_an_error(quirks: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        provider(**quirks)
    with pytest.raises(ValidationError, match=where):
        ModelRow.model_validate({"name": "m", "quirks": quirks})


def test_every_quirk_has_a_default_that_is_the_standard_form() -> None:
    assert quirks_of(provider(), ModelRow(name="m")) == Quirks()

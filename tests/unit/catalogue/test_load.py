from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from catalogue.load import PACKAGED, CatalogueError, providers, read
from catalogue.prices import price_at
from catalogue.quirks import quirks_of

PLAIN = 'dialect = "openai_chat"\nbase_url = "https://new.invalid/v1"\n'


def test_at_least_twenty_providers_are_packaged_with_their_addresses_and_keys() -> None:
    rows = providers()
    assert len(rows) >= 20
    for name, row in rows.items():
        assert row.name == name
        assert row.title, name
        assert row.docs.startswith("https://"), name
        assert any("{key}" in template for template in row.auth.values()), name
        address = urlsplit(re.sub(r"\{\w+\}", "x", row.base_url))
        assert address.scheme == ("http" if address.hostname == "localhost" else "https"), name
        assert address.hostname, name
        assert not address.path.endswith("/"), name
    assert not rows["anthropic"].cached_input_counts


def test_what_one_caller_has_looked_up_is_no_matter_of_the_next_one(tmp_path: Path) -> None:
    assert providers()["vllm"].model("brand-new").context_window is None
    (tmp_path / "vllm.toml").write_text('[[models]]\nname = "brand-new"\ncontext_window = 1234\n')
    assert providers(tmp_path)["vllm"].model("brand-new").context_window == 1234
    assert providers()["vllm"].model("brand-new").context_window is None


def test_addresses_have_only_places_an_operator_can_fill() -> None:
    asked = {place for row in providers().values() for place in re.findall(r"\{(\w*)\}", row.base_url)}
    assert asked == {"account", "project", "region", "resource"}


@pytest.mark.parametrize("name", sorted(path.stem for path in PACKAGED.glob("*.toml")))
def test_what_a_packaged_model_can_do_and_what_it_refuses_agree(name: str) -> None:
    row = providers()[name]
    for model in row.models:
        quirks = quirks_of(row, model)
        dialect = model.dialect or row.dialect
        for can, setting in {"images": "images", "tools": "tools", "files": "files", "logprobs": "logprobs"}.items():
            assert can not in model.capabilities or setting not in quirks.refuses, (model.name, can)
        if "capabilities" not in model.model_fields_set or "embeddings" in model.capabilities:
            continue
        if dialect in {"anthropic", "gemini"}:
            assert (quirks.thinking != "none") is ("reasoning" in model.capabilities), model.name
        if "json_schema" in model.capabilities:
            assert quirks.schema_as == "json_schema", model.name


@pytest.mark.parametrize("name", ["anthropic", "gemini", "openai"])
def test_the_models_of_the_three_great_providers_have_all_their_facts(name: str) -> None:
    row = providers()[name]
    for model in row.models:
        if "embeddings" in model.capabilities:
            continue
        assert model.context_window or model.dialect, model.name
        assert model.max_output, model.name
        quirks = quirks_of(row, model)
        assert ("images" in model.capabilities) is ("images" not in quirks.refuses), model.name
        assert ("tools" in model.capabilities) is ("tools" not in quirks.refuses), model.name


def test_a_model_that_retires_has_its_day_and_often_a_successor_that_is_known() -> None:
    for row in providers().values():
        for model in row.models:
            if model.successor:
                assert model.retires or model.deprecated, (row.name, model.name)
                assert row.model(model.successor).context_window, (row.name, model.successor)


@pytest.mark.parametrize(
    ("provider", "model", "window", "family"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", 128_000, ""),
        ("openai", "gpt-4-0613", 8_192, ""),
        ("openai", "gpt-4.1-nano", 1_047_576, ""),
        ("openai", "gpt-5-mini", 400_000, "gpt-5"),
        ("openai", "o4-mini", 200_000, "o"),
        ("anthropic", "claude-haiku-4-5-20251001", 200_000, "claude"),
        ("anthropic", "claude-opus-5-5", 1_000_000, "claude"),
        ("azure", "gpt-35-turbo", 16_385, ""),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, "claude"),
        ("bedrock", "eu.anthropic.claude-opus-5", 1_000_000, "claude"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-micro-v1:0", 128_000, ""),
        ("gemini", "models/gemini-2.5-pro", 1_048_576, "gemini-2.5"),
        ("vertex", "claude-3-7-sonnet@20250219", 200_000, "claude"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x1", 128_000, ""),
        ("openai", "gpt-5.6-sol", 1_050_000, "gpt-5"),
        ("anthropic", "claude-3-haiku-20240307", 200_000, "claude"),
        ("bedrock", "amazon.nova-micro-v1:0", 128_000, ""),
        ("gemini", "gemini-2.5-flash-lite", 1_048_576, "gemini-2.5"),
        ("gemini", "gemini-3.1-pro-preview", 1_048_576, "gemini-3"),
        ("gemini", "gemini-2.0-flash", 1_048_576, ""),
    ],
)
def test_dated_names_find_their_family(provider: str, model: str, window: int, family: str) -> None:
    row = providers()[provider].model(model)
    assert (row.name, row.context_window, row.family) == (model, window, family)


@pytest.mark.parametrize(
    ("model", "thinking", "sampling"),
    [
        ("claude-opus-5", "adaptive", False),
        ("claude-sonnet-4-6", "adaptive", True),
        ("claude-opus-4-8-20260501", "adaptive", False),
        ("claude-sonnet-4-5-20250929", "budget", True),
        ("claude-haiku-4-5", "budget", True),
        ("claude-sonnet-4-20250514", "budget", False),
        ("claude-opus-4-20250514", "budget", False),
        ("claude-3-7-sonnet-latest", "budget", False),
        ("claude-3-5-haiku-latest", "none", False),
    ],
)
def test_generations_of_a_model_are_told_apart(model: str, thinking: str, sampling: bool) -> None:
    row = providers()["anthropic"]
    quirks = quirks_of(row, row.model(model))
    assert (quirks.thinking, quirks.one_sampling) == (thinking, sampling)
    if thinking == "adaptive":
        assert sampling is ("temperature" not in quirks.refuses)


def test_a_new_provider_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text(PLAIN + '[[models]]\nname = "m*"\nquirks = { stop_max = 2 }\n')
    row = providers(tmp_path)["new"]
    assert (row.name, row.dialect) == ("new", "openai_chat")
    assert quirks_of(row, row.model("m1")).stop_max == 2
    assert "openai" in providers(tmp_path)


def test_a_file_of_a_known_providers_name_changes_only_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "openai.toml").write_text(
        """base_url = "https://eu.api.openai.com/v1"
quirks = { stop_max = 2 }
[[models]]
name = "gpt-4o-mini"
prices = [{ input = 1, output = 2 }]
[[models]]
name = "gpt-4o*"
max_output = 1000
quirks = { seed_field = "seedling" }
[[models]]
name = "gpt-99"
context_window = 12345
"""
    )
    was, row = providers()["openai"], providers(tmp_path)["openai"]
    assert (row.base_url, row.auth, row.library) == ("https://eu.api.openai.com/v1", was.auth, was.library)
    assert quirks_of(row, row.model("gpt-5")).stop_max == 2
    assert quirks_of(row, row.model("gpt-5")).efforts == quirks_of(was, was.model("gpt-5")).efforts
    mini = row.model("gpt-4o-mini")
    assert (mini.max_output, mini.context_window, mini.capabilities) == (
        1000,
        128_000,
        was.model("gpt-4o-mini").capabilities,
    )
    assert quirks_of(row, mini).seed_field == "seedling"
    assert quirks_of(row, mini).refuses == ("reasoning_effort",)
    assert [price.input for price in row.prices("gpt-4o-mini")] == [1]
    assert row.prices("gpt-4o") == was.prices("gpt-4o")
    assert row.model("gpt-99").context_window == 12345
    assert "gpt-99" in {model.name for model in row.known()}


def test_the_last_folder_has_the_last_word(tmp_path: Path) -> None:
    for number, window in enumerate((1000, 2000)):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "openai.toml").write_text(
            f"[[models]]\nname = 'gpt-5'\ncontext_window = {window}\n" + ("max_output = 7\n" if number == 0 else "")
        )
    model = providers(tmp_path / "0", None, tmp_path / "1")["openai"].model("gpt-5")
    assert (model.context_window, model.max_output) == (2000, 7)


def test_a_dated_price_of_the_operator_is_an_exception_from_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "openai.toml").write_text(
        "[[models]]\nname = 'gpt-4o'\nprices = [{ since = 2027-01-01, input = 1, output = 2 }]\n"
    )
    known = providers()["openai"].prices("gpt-4o")
    prices = providers(tmp_path)["openai"].prices("gpt-4o")
    assert prices[:-1] == known
    assert price_at(prices, datetime(2026, 12, 31, tzinfo=UTC)) == known[-1]
    later = price_at(prices, datetime(2027, 1, 1, tzinfo=UTC))
    assert later is not None
    assert later.input == 1


def test_a_deployment_is_the_model_it_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "azure.toml").write_text('[[models]]\nname = "chat-prod"\nsame_as = "gpt-5-mini"\nmax_output = 500\n')
    row = providers(tmp_path)["azure"]
    model = row.model("chat-prod")
    assert (model.name, model.context_window, model.family, model.max_output) == (
        "chat-prod",
        400_000,
        "gpt-5@azure",
        500,
    )
    assert quirks_of(row, model).max_tokens_field == "max_completion_tokens"
    assert row.prices("chat-prod") == row.prices("gpt-5-mini") != ()
    assert row.model("who-knows").context_window is None


def test_lent_models_speak_what_the_borrower_says_and_cost_what_it_asks() -> None:
    rows = providers()
    claude = rows["vertex"].model("claude-sonnet-4@20250514")
    assert (claude.dialect, claude.family) == ("anthropic", "claude")
    assert quirks_of(rows["vertex"], claude).path == "/publishers/anthropic/models/{model}:rawPredict"
    assert quirks_of(rows["vertex"], claude).thinking == "budget"
    assert claude.retires is None
    assert rows["vertex"].model("gemini-3.5-flash").dialect is None
    assert quirks_of(rows["vertex"], rows["vertex"].model("gemini-3.5-flash")).thinking == "level"


def test_a_lender_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text(PLAIN + '[[lent]]\nprovider = "opnai"\n')
    with pytest.raises(CatalogueError, match="no provider 'opnai'"):
        providers(tmp_path)


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="not a folder"):
        providers(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dialect = \n", "not TOML.*line 1"),
        ('dialect = "smoke_signals"\nbase_url = "x"\n', r"p\.toml:1: dialect: .*openai_chat"),
        ('dialect = "gemini"\n', "base_url: Field required"),
        (PLAIN + "colour = 7\n", r"p\.toml:3: colour: Extra inputs"),
        (PLAIN + 'name = "q"\n', "must be the file's own name"),
        (
            PLAIN + '[[models]]\nname = "a"\n[[models]]\nname = "b"\nmax_output = "long"\n',
            r"p\.toml:7: models\.1\.max_output",
        ),
        (PLAIN + '[quirks]\nstop_max = 3\nrefuses = ["x"]\n', r"p\.toml:5: quirks\.refuses"),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_what_is_expected(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=expected):
        read(path)


def test_a_wrong_change_of_a_known_provider_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "openai.toml").write_text('[[models]]\nname = "gpt-4o"\nprices = [{ input = -1 }]\n')
    with pytest.raises(CatalogueError, match=r"openai\.toml:3: models\.0\.prices\.0\.input: .*greater than"):
        providers(tmp_path)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogueError, match="cannot be read"):
        read(tmp_path / "binary.toml")

from __future__ import annotations

from pathlib import Path

import pytest

from catalogue.load import PACKAGED, CatalogueError, providers, read
from catalogue.quirks import quirks_of

PLAIN = 'dialect = "openai_chat"\nbase_url = "https://new.invalid/v1"\n'


def test_the_packaged_providers_are_there_with_their_dialects_and_keys() -> None:
    rows = providers()
    assert {name: row.dialect for name, row in rows.items()} == {
        "anthropic": "anthropic",
        "gemini": "gemini",
        "openai": "openai_chat",
        "vertex": "gemini",
    }
    for name, row in rows.items():
        assert row.name == name
        assert row.base_url.startswith("https://")
        assert any("{key}" in template for template in row.auth.values())
    assert not rows["anthropic"].cached_input_counts


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_packaged_model_has_its_facts(path: Path) -> None:
    row = read(path)
    for model in row.models:
        assert model.context_window, model.name
        assert model.max_output, model.name
        quirks = quirks_of(row, model)
        reasons = "reasoning" in model.capabilities
        assert reasons or row.dialect != "openai_chat" or "reasoning_effort" in quirks.refuses, model.name
        assert row.dialect == "openai_chat" or (quirks.thinking != "none") is reasons, model.name
        assert ("images" in model.capabilities) is ("images" not in quirks.refuses), model.name
        assert ("tools" in model.capabilities) is ("tools" not in quirks.refuses), model.name


@pytest.mark.parametrize(
    ("provider", "model", "window", "family"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", 128_000, ""),
        ("openai", "gpt-4-0613", 8_192, ""),
        ("openai", "gpt-4.1-nano", 1_047_576, ""),
        ("openai", "gpt-5-mini", 400_000, "gpt-5"),
        ("openai", "o4-mini", 200_000, "o"),
        ("anthropic", "claude-haiku-4-5-20251001", 200_000, "claude"),
        ("anthropic", "claude-3-haiku-20240307", 200_000, "claude"),
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


def test_a_further_folder_may_replace_a_packaged_row(tmp_path: Path) -> None:
    (tmp_path / "openai.toml").write_text(PLAIN)
    assert providers(tmp_path)["openai"].base_url == "https://new.invalid/v1"


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


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogueError, match="cannot be read"):
        read(tmp_path / "binary.toml")

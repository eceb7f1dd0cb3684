"""``penstock models``: lists, searches, and says what is wrong with the question."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from catalogue.load import providers
from producer_sdk.cli.app import app
from producer_sdk.cli.models import Listed, _all, table


def run(*words: str) -> tuple[int, list[str], str]:
    done = CliRunner().invoke(app, ["models", *words])
    return done.exit_code, done.stdout.splitlines(), done.stderr


def found(*words: str) -> list[dict[str, Any]]:
    code, lines, _ = run(*words, "--json")
    assert code == 0
    return [json.loads(line) for line in lines]


def test_a_line_has_the_models_facts_apart_by_tabs() -> None:
    code, lines, said = run("claude-haiku-4-5", "--provider", "anthropic")
    assert code == 0
    assert [line.split("\t") for line in lines] == [
        [
            "anthropic/claude-haiku-4-5",
            "200000",
            "64000",
            "1",
            "5",
            "0.1",
            "files,images,json_schema,prefill,reasoning,system,tools",
            "",
        ]
    ]
    assert said == "1 model\n"


def test_json_tells_everything_and_dollars_as_text() -> None:
    (told,) = found("gpt-5-mini", "-p", "openai", "--retired")
    assert (told["provider"], told["model"], told["dialect"], told["kind"]) == (
        "openai",
        "gpt-5-mini",
        "openai_chat",
        "chat",
    )
    assert (told["context_window"], told["max_output"]) == (400_000, 128_000)
    assert {"tools", "images"} <= set(told["capabilities"])
    assert told["price"]["input"] == "0.25"
    assert (told["retires"], told["successor"]) == ("2026-12-11", "gpt-6.1-terra")


def test_a_search_takes_words_abilities_windows_and_kinds() -> None:
    assert all("gemini" in one["model"] and "flash" in one["model"] for one in found("GEMINI", "flash", "-p", "gemini"))
    able = found("--can", "tools, images", "-p", "openai", "-p", "groq", "--window", "120000")
    assert {one["provider"] for one in able} == {"openai", "groq"}
    assert all({"tools", "images"} <= set(one["capabilities"]) and one["context_window"] >= 120_000 for one in able)
    assert {one["kind"] for one in found("--kind", "embeddings")} == {"embeddings"}
    assert {"chat", "embeddings", "other"} <= {one["kind"] for one in found("--kind", "all")}


def test_three_hundred_chat_models_are_listed() -> None:
    assert len(found()) >= 300


def test_what_providers_have_given_up_is_left_out_and_said_so() -> None:
    code, lines, said = run("gpt-4-turbo", "-p", "openai")
    assert (code, lines) == (0, [])
    assert said == "0 models; 1 retired left out, --retired shows them\n"
    assert [one["retires"] for one in found("gpt-4-turbo", "-p", "openai", "--retired")] == ["2026-10-23"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-p", "opnai"), "provider: there is no 'opnai'; did you mean openai? There are: ai21, anthropic"),
        (("--can", "tool"), "can: there is no 'tool'; did you mean tools? There are: embeddings, files"),
        (("--catalogue", "/nowhere/at-all"), "not a folder"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_what_would(words: tuple[str, ...], expected: str) -> None:
    code, lines, said = run(*words)
    assert (code, lines) == (2, [])
    assert expected in said
    code, lines, _ = run(*words, "--json")
    assert code == 2
    assert json.loads(lines[0])["error"]["code"] == "invalid_request"


def test_the_operators_own_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "My own"\ndialect = "openai_chat"\nbase_url = "http://10.0.0.1/v1"\n'
        '[[models]]\nname = "big-1"\ncontext_window = 9000\ncapabilities = ["tools"]\n'
        "prices = [{ input = 0, output = 0 }]\n"
    )
    (told,) = found("big-1", "--catalogue", str(tmp_path))
    assert (told["provider"], told["context_window"], told["price"]["output"]) == ("mine", 9000, "0")
    (tmp_path / "openai.toml").write_text("colour = 1\n")
    code, _, said = run("--catalogue", str(tmp_path))
    assert code == 2
    assert "openai.toml:1: colour" in said


@pytest.mark.parametrize(("width", "columns"), [(180, 8), (100, 6), (40, 4)])
def test_a_narrow_terminal_shows_fewer_facts_and_never_more_than_it_is_wide(width: int, columns: int) -> None:
    shown: list[Listed] = list(_all(providers(), ["groq"], datetime(2026, 11, 28, tzinfo=UTC)))
    drawn = table(shown, datetime(2026, 11, 28, tzinfo=UTC).date(), width)
    assert len(drawn.columns) == columns
    console = Console(width=width, record=True, file=sys.stderr, quiet=False)
    with console.capture() as capture:
        console.print(drawn)
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) > len(shown) if columns == 4 else len(lines) == len(shown) + 1


def test_without_the_catalogue_the_command_says_where_it_is() -> None:
    program = (
        "import sys; sys.path = [p for p in sys.path if p]; sys.modules['catalogue'] = None\n"
        "from producer_sdk.cli.app import app; app(['models'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "the catalogue is not here" in done.stderr
    assert "make setup" in done.stderr

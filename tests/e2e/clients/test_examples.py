"""Programs that people have: every example of examples/clients runs against an appliance as it stands."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.clients.conftest import CLIENTS, EXAMPLES, Programs
from tests.e2e.clients.said import compiled, recorded, replayed

pytestmark = pytest.mark.timeout(150)

OURS = Path(sys.executable)
THEIRS = CLIENTS / "bin" / "python"
WORDS = r"\w[\w .,]+"
READING = r"Reading\(place='[^']+', degrees=-?[\d.]+\)"

EXPECTED = {
    "with_openai.py": [
        rf"whole: {WORDS}",
        r"streamed: one two three",
        rf"tool: get_weather Rain in {WORDS}",
        rf"after it: {WORDS}",
        rf"parsed: {READING}",
        rf"responses: {WORDS}",
        r"refused: model_not_found req_\w+",
        r"headers: [\w-]+ \w+/[\w.-]+",
    ],
    "with_anthropic.py": [
        rf"whole: {WORDS}",
        r"streamed: one two three",
        r"tool: get_weather \{'city': .+\}",
        rf"after it: {WORDS}",
        r"tokens: \d+",
        r"models: .*\bsmart\b.*",
        r"refused: req_\w+",
    ],
    "with_langchain.py": [
        rf"whole: {WORDS} \d+",
        r"streamed: one two three",
        rf"tool: get_weather Rain in {WORDS}",
        rf"after it: {WORDS}",
        rf"structured: {READING}",
        rf"structured: {READING}",
        rf"responses: {WORDS}",
    ],
    "with_llama_index.py": [
        rf"whole: {WORDS}",
        r"streamed: one two three",
        rf"complete: {WORDS}",
        rf"tool: get_weather Rain in {WORDS}",
        rf"structured: {READING}",
    ],
    "with_pydantic_ai.py": [
        rf"tool: get_weather {WORDS}",
        rf"whole: {WORDS}",
        r"streamed: one two three",
        rf"tool: get_weather {WORDS}",
        rf"typed: {READING}",
        rf"responses: {WORDS}",
    ],
    "with_instructor.py": [
        rf"tool_call: {READING}",
        rf"json_schema_mode: {READING}",
        rf"json_mode: {READING}",
        rf"streamed: {WORDS} -?[\d.]+",
        rf"several: [1-9] {READING}",
    ],
    "with_openai.mjs": [
        rf"whole: {WORDS}",
        r"streamed: one two three",
        rf"tool: get_weather {WORDS}",
        rf"after it: {WORDS}",
        r'parsed: \{"place":"[^"]+","degrees":-?[\d.]+\}',
        rf"responses: {WORDS}",
        r"refused: model_not_found req_\w+",
    ],
    "with_anthropic.mjs": [rf"whole: {WORDS}", r"streamed: one two three", r"refused: req_\w+"],
    "with_ai_sdk.mjs": [
        line
        for name in ("chat", "responses")
        for line in (
            rf"{name} whole: {WORDS} \d+",
            rf"{name} streamed: one two three 3",
            rf"{name} tool: Rain in {WORDS} then: {WORDS}",
            rf'{name} object: \{{"place":"[^"]+","degrees":-?[\d.]+\}}',
        )
    ],
}
"""What each example prints, line by line."""

PYTHON = [(name, THEIRS) for name in EXPECTED if name.endswith(".py")] + [
    (name, OURS) for name in ("with_openai.py", "with_anthropic.py")
]
"""The vendors' own clients in two versions: those that the frameworks still ask for, and the newest, in our lock."""


def agrees(name: str, printed: str) -> None:
    lines = printed.splitlines()
    wrong = [
        (line, pattern) for line, pattern in zip(lines, EXPECTED[name], strict=False) if not re.fullmatch(pattern, line)
    ]
    assert wrong == []
    assert len(lines) == len(EXPECTED[name]), printed


@pytest.mark.parametrize(
    ("name", "interpreter"), PYTHON, ids=[f"{name}-{'ours' if at == OURS else 'theirs'}" for name, at in PYTHON]
)
def test_a_program_of_python_runs_as_it_stands(name: str, interpreter: Path, programs: Programs) -> None:
    agrees(name, programs.python(EXAMPLES / name, interpreter=interpreter))


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".mjs")])
def test_a_program_of_node_runs_as_it_stands(name: str, programs: Programs) -> None:
    agrees(name, programs.node(EXAMPLES / name))


def test_streams_that_halt_are_read_past_their_signs_of_life_by_node_too(programs: Programs) -> None:
    printed = programs.node(Path(__file__).parent / "halting.mjs")
    assert printed.splitlines() == [f"{name}: one two three" for name in ("chat", "responses", "messages", "ai sdk")]


def test_no_example_is_without_a_test() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".mjs", ".sh", ".go", ".rs"}}
    assert programs == {*EXPECTED, "with_curl.sh", "ask.go", "ask.rs"}


def test_curl_gets_a_whole_answer_and_a_stream(programs: Programs) -> None:
    whole, _, stream = programs.run("sh", str(EXAMPLES / "with_curl.sh")).partition("\n")
    assert json.loads(whole)["choices"][0]["message"]["content"]
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    deltas = [json.loads(one)["choices"][0]["delta"] for one in data[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == "one two three"
    ids = [line for line in stream.splitlines() if line.startswith("id: ")]
    assert len(ids) == len(data) == len(set(ids))


COMPILERS = {
    "go": ("go", "build", "-o", "ask", str(EXAMPLES / "ask.go")),
    "rust": ("rustc", "--edition", "2021", "-o", "ask", str(EXAMPLES / "ask.rs")),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", COMPILERS)
async def test_what_a_compiled_program_sends_is_answered(language: str, programs: Programs) -> None:
    whole, stream = await replayed(recorded(language), programs.place)
    assert json.loads(whole)["choices"][0]["message"]["content"]
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    assert "".join(json.loads(one)["choices"][0]["delta"].get("content", "") for one in data[:-1]) == "one two three"
    if shutil.which(COMPILERS[language][0]):  # not installed for this: compiling takes longer than all the rest
        ran = await compiled(programs, COMPILERS[language])
        assert re.fullmatch(rf"whole: {WORDS}\nstreamed: one two three\n", ran.printed)
        assert ran.sent == recorded(language)

"""The documentation is true: links lead somewhere, commands exist, configurations load, examples run.

Blocks that need a running system are executed by tests/e2e/test_docs.py.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from catalogue.load import providers
from runtime.bus.manifest import StreamLimits, manifest
from runtime.config import ConfigError, parse
from tests.architecture.tree import present
from tests.support.cli import invoke
from tests.support.pages import ROOT, Block, anchors, blocks, links, pages, paths_named

BLOCKS = blocks()
LANGUAGES = {
    "python": {"run: gateway", "run: appliance", "signature"},
    "yaml": {"config", "config: refused"},
    "sh": {"", "run: appliance"},
    "toml": {"catalogue: acme", "catalogue: azure", "catalogue: openai"},
}
"""What is checked, and the marks a block of that language may have; diagrams and output have no language, or text."""


QUOTED = "example: "
"""How the mark of a block begins that is quoted from a program in examples/clients, which tests run."""


def marked(language: str, mark: str) -> list[Block]:
    return [block for block in BLOCKS if (block.language, block.mark) == (language, mark)]


def by_place(block: Block) -> str:
    return block.place


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    strange = [
        f"{block.place}: {block.language!r} marked {block.mark!r}"
        for block in BLOCKS
        if block.language not in {"", "text"}
        and block.mark not in LANGUAGES.get(block.language, set())
        and not block.mark.startswith(QUOTED)
    ]
    assert strange == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    lost = []
    for target in links(page):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_exists(page: Path) -> None:
    assert [name for name in paths_named(page) if not (ROOT / name).exists() and name not in MADE] == []


MADE = {"uv.lock", "penstock.yaml"}
"""Files that a page tells people to make, or not to."""


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in links(page):
            place = (page.parent / target.partition("#")[0]).resolve()
            if place.is_dir():
                waiting += place.glob("*.md")
            elif place.suffix == ".md" and place.exists():
                waiting.append(place)
    aside = {ROOT / "migrations" / "README.md"}
    assert sorted(set(pages()) - reached - aside) == []


# -- decisions


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_context_consequences_and_a_history(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {page.stem[:4]}: \S", text)
    order = [text.index(f"\n## {part}\n") for part in ("Context", "Decision", "Consequences", "Revision history")]
    assert order == sorted(order)


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [page.stem[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


# -- configurations


@pytest.mark.parametrize("block", marked("yaml", "config"), ids=by_place)
def test_a_configuration_that_is_shown_can_be_used(block: Block, tmp_path: Path) -> None:
    for name in ("service", "database"):
        (tmp_path / f"{name}.password").write_text("secret\n")
    text = block.code.replace("/etc/penstock/", f"{tmp_path}/")
    assert parse(text, environ=dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", text), "value")).routes


@pytest.mark.parametrize("block", marked("yaml", "config: refused"), ids=by_place)
def test_a_configuration_that_is_refused_is_refused_in_the_words_that_are_shown(block: Block) -> None:
    shown = next(other for other in BLOCKS if other.page == block.page and other.line > block.line)
    with pytest.raises(ConfigError) as refused:
        parse(block.code, name="penstock.yaml", environ={})
    assert str(refused.value) == shown.code.rstrip("\n")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_of_a_configuration_can_be_used(path: Path) -> None:
    assert parse(path.read_text(encoding="utf-8"), folder=path.parent, environ={}).routes


# -- examples of code


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark.startswith(QUOTED)], ids=by_place)
def test_what_is_quoted_from_a_program_stands_there(block: Block) -> None:
    assert block.code in (ROOT / "examples" / "clients" / block.mark.removeprefix(QUOTED)).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", marked("python", "run: gateway"), ids=by_place)
def test_an_example_with_the_gateway_in_memory_runs(block: Block) -> None:
    run(block, block.code)


@pytest.mark.parametrize("block", marked("python", "run: appliance"), ids=by_place)
def test_an_example_for_the_whole_system_names_only_what_there_is(block: Block) -> None:
    imports = "\n".join(line for line in block.code.splitlines() if line.startswith(("import ", "from ")))
    run(block, imports)
    compile(block.code, block.place, "exec")


def run(block: Block, code: str) -> None:
    """As a program, but in this process: starting an interpreter costs more than the example."""
    exec(compile(code, block.place, "exec", dont_inherit=True), {"__name__": "__main__"})


# -- commands


ORDERS = [["pause"], ["drain"], ["resume"], ["weigh"], ["override"], ["restore"]]
"""Commands of ``pools`` and ``limits``, which also stand alone."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of every shell block, with its place."""
    for block in [block for block in BLOCKS if block.language == "sh" and not block.mark.startswith(QUOTED)]:
        joined = re.sub(r"\\\n\s*", "", block.code)
        for number, line in enumerate(joined.splitlines()):
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield f"{block.page}:{block.line + 1 + number}", words


@pytest.mark.parametrize(
    ("place", "words"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_command_that_is_shown_exists(place: str, words: list[str]) -> None:
    match words:
        case ["make", word, *_]:
            assert re.search(rf"^{word}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case ["python", "-m", module, *rest]:
            assert importlib.util.find_spec(f"{module}.__main__") is not None
            told = usage(module, *(word for word in rest[:1] if word in {"up", "demo", "keys", "ready", "migrate"}))
            assert [option for option in rest if option.startswith("--") and option not in told] == []
        case ["docker", "compose", *rest]:
            services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
            scaled = [word.partition("=")[0] for word in rest if "=" in word]
            ran = [word for word in rest[rest.index("run") + 1 :] if word[0] != "-"][:1] if "run" in rest else []
            assert {*scaled, *ran} <= set(services)
        case ["pip", "install", name]:
            with (ROOT / "pyproject.toml").open("rb") as file:
                project = tomllib.load(file)["project"]
            assert name in {project["name"], *(f"{project['name']}[{e}]" for e in project["optional-dependencies"])}
        case ["nats-server", *rest]:
            assert [word for word in rest if word.endswith(".conf") and not (ROOT / word).exists()] == []
        case ["penstock", command, *rest]:
            within = command in {"jobs", "dead", "batch", "keys"} or rest[:1] in (["compare"], ["forecast"], *ORDERS)
            grouped = rest[:1] if within else ()
            told = usage("producer_sdk.cli", command, *grouped)
            assert [option for option in rest if option.startswith("--") and option not in told] == []
        case ["echo", *_]:
            assert words[-2] == ">"
        case ["curl", *_]:
            assert "/_control/" in " ".join(words) or "/autoscale/" in words[-1]
        case _:
            pytest.fail(f"{place}: {words[0]} is a command that no test looks at")


@cache
def usage(module: str, *command: str) -> str:
    """What a command tells of itself; a service is asked as a process, since nobody calls a service's ``main``."""
    if module == "producer_sdk.cli":
        done = invoke(*command, "--help")
        assert done.code == 0, done.err
        return done.out
    told = subprocess.run(
        [sys.executable, "-m", module, *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


# -- what the architecture says


def test_the_architecture_names_every_stream_and_where_its_messages_lie() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([A-Z]+(?:_0)?) \| (.*)$", text, re.MULTILINE))
    streams = {asset["config"]["name"]: asset["config"] for asset in manifest(StreamLimits())}
    assert rows.keys() == streams.keys()
    for name, config in streams.items():
        told = "subject_transform" in config and config["subject_transform"]["dest"]
        for subject in [told] if told else config["subjects"]:
            words = [word for word in subject.split(".") if re.fullmatch(r"[a-z]\w*", word)]
            assert all(word in rows[name] for word in words if "barrier" not in subject), (name, subject)


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert [package for package in present() if f"| `{package}` |" not in text] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=by_place)
def test_every_file_of_a_catalogue_in_the_documentation_loads(block: Block, tmp_path: Path) -> None:
    name = block.mark.partition(": ")[2]
    (tmp_path / f"{name}.toml").write_text(block.code, encoding="utf-8")
    assert providers(tmp_path)[name].known()

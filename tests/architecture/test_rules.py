"""House rules that a linter does not know."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tree import ROOT, Module, modules, present

PROVIDERS = {path.stem for path in (ROOT / "catalogue" / "providers").glob("*.toml")}
"""The catalogue's own names: comparing anything with one of them is a quirk that belongs into its row."""


def test_nobody_tests_a_providers_name() -> None:
    found = [place for module in modules(*present()) for place in _tests_of_a_providers_name(module)]
    assert not found, "make the difference a row of the catalogue:\n" + "\n".join(found)


def test_the_rule_about_providers_names_sees_its_forms() -> None:
    forms = [
        "if provider == 'x': pass",
        "if 'x' != job.provider_name: pass",
        "if row.provider.name in ('x', 'y'): pass",
        "y = 1 if providers[0].provider == 'x' else 2",
        "if provider.startswith('x'): pass",
        "match job.provider:\n    case 'x': pass\n    case _: pass",
    ]
    fine = ["if provider == other: pass", "if provider in known: pass", "if role == 'user': pass"]
    assert [bool(list(_tests_of_a_providers_name(_parsed(form)))) for form in forms] == [True] * len(forms)
    assert [bool(list(_tests_of_a_providers_name(_parsed(form)))) for form in fine] == [False] * len(fine)


def test_a_test_never_waits_by_sleeping() -> None:
    found = [
        module.at(call)
        for module in modules("tests")
        for test in ast.walk(module.tree)
        if isinstance(test, ast.AsyncFunctionDef) and test.name.startswith("test_")
        for call in _own_calls(test)
        if ast.unparse(call.func) in {"asyncio.sleep", "sleep"} and ast.unparse(call.args[0]) != "0"
    ]
    assert not found, "wait for the condition with tests.support.eventually:\n" + "\n".join(found)


def _parsed(source: str) -> Module:
    return Module("form", ROOT / "form.py", ast.parse(source), 1)


def _tests_of_a_providers_name(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Compare(left=left, comparators=comparators):
                sides = [left, *comparators]
                literals = {text for side in sides for text in _literals(side)}
                if literals and (literals & PROVIDERS or any(_is_a_providers_name(side) for side in sides)):
                    yield f"{module.at(node)} {ast.unparse(node)}"
            case ast.Call(func=ast.Attribute(value=value, attr="startswith" | "endswith")) if node.args:
                if _is_a_providers_name(value) and list(_literals(node.args[0])):
                    yield f"{module.at(node)} {ast.unparse(node)}"
            case ast.Match(subject=subject, cases=cases) if _is_a_providers_name(subject):
                if any(isinstance(part, ast.MatchValue) for case in cases for part in ast.walk(case.pattern)):
                    yield f"{module.at(node)} match {ast.unparse(subject)}"


def _is_a_providers_name(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return name.removesuffix("_name").removesuffix("_id").endswith("provider")
        case ast.Attribute(value=owner, attr="name" | "id" | "key"):
            return _is_a_providers_name(owner)
        case ast.Attribute(attr=name):
            return name.removesuffix("_name").removesuffix("_id").endswith("provider")
        case ast.Call(func=ast.Attribute(value=owner, attr="lower" | "casefold" | "strip")):
            return _is_a_providers_name(owner)
    return False


def _literals(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text) if text:
            yield text
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from _literals(part)
        case ast.Call(func=ast.Name(id="frozenset" | "set"), args=[part]):
            yield from _literals(part)


def _own_calls(function: ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """The calls of a function itself: a fake defined inside it may take its time."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        pending.extend(ast.iter_child_nodes(node))

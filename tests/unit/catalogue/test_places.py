from __future__ import annotations

from typing import Any

import pytest

from catalogue.places import Unfilled, settled
from catalogue.rows import ProviderRow


def row(**over: Any) -> ProviderRow:
    values = {"name": "p", "dialect": "openai_chat", "base_url": "https://{region}.p.example/{project}"}
    return ProviderRow.model_validate({**values, **over})


def test_places_are_filled_from_the_region_the_variables_and_the_rows_own() -> None:
    one = row(variables={"project": "usual", "version": "1"}, quirks={"path": "/{model}/x?v={version}"})
    found = settled(one, region="eu", variables={})
    assert (found.base_url, found.quirks["path"]) == ("https://eu.p.example/usual", "/{model}/x?v=1")
    found = settled(one, region="eu", variables={"project": "own", "version": "2"})
    assert (found.base_url, found.quirks["path"]) == ("https://eu.p.example/own", "/{model}/x?v=2")


def test_paths_of_models_are_filled_as_well() -> None:
    models = [{"name": "a", "quirks": {"stream_path": "/{project}/{model}"}}, {"name": "b", "quirks": {"stop_max": 4}}]
    found = settled(row(models=models), region="eu", variables={"project": "own"})
    assert found.model("a").quirks == {"stream_path": "/own/{model}"}
    assert found.model("b").quirks == {"stop_max": 4}


def test_a_row_without_places_stays_the_same_object() -> None:
    plain = row(base_url="https://p.example")
    assert settled(plain, region="eu", variables={"unused": "x"}) is plain


def test_a_region_may_have_a_host_of_its_own() -> None:
    one = row(hosts={"global": "p.example"})
    assert settled(one, region="global", variables={"project": "x"}).base_url == "https://p.example/x"
    assert settled(one, region="eu", variables={"project": "x"}).base_url == "https://eu.p.example/x"


@pytest.mark.parametrize(
    "word", ["", ".", "..", "a/b", "a:1", "a@b", "a?b", "a#b", "a b", "a\n", "-a", "a-", "é", "a%2f"]
)
def test_only_a_word_fills_a_place(word: str) -> None:
    with pytest.raises(Unfilled, match=r"^providers\.p\.variables\.project: it may hold letters"):
        settled(row(), region="eu", variables={"project": word})


@pytest.mark.parametrize("word", ["a", "A1", "my-project", "a.b_c-d", "2024-10-21"])
def test_words_are_letters_digits_and_a_few_signs(word: str) -> None:
    assert settled(row(), region="eu", variables={"project": word}).base_url.endswith(f"/{word}")


def test_what_is_missing_is_named_with_the_key_to_set() -> None:
    with pytest.raises(Unfilled, match=r"^providers\.p\.region: set it: the address has the place \{region\} \(https"):
        settled(row(), region=None, variables={"project": "x"})
    with pytest.raises(Unfilled, match=r"^providers\.p\.variables\.project: set it"):
        settled(row(), region="eu", variables={})


def test_a_model_looked_up_before_is_filled_as_well() -> None:
    one = row(models=[{"name": "a*", "quirks": {"path": "/{project}"}}])
    assert one.model("a1").quirks == {"path": "/{project}"}
    assert settled(one, region="eu", variables={"project": "own"}).model("a1").quirks == {"path": "/own"}
    assert one.model("a1").quirks == {"path": "/{project}"}

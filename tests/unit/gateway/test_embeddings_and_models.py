"""Bodies of embeddings, and lists of models."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.bodies import openai_embeddings, openai_models
from gateway.bodies.failures import Failed
from job_contracts.embeddings import packed


@pytest.mark.parametrize("given", ["a", ["a"]])
def test_one_text_is_a_list_of_one(given: Any) -> None:
    request = openai_embeddings.read({"model": "e", "input": given, "user": "u"})
    assert (request.inputs, request.form, request.asked.unused) == (("a",), "float", ("user",))


def test_vectors_are_told_in_the_form_that_was_asked_for() -> None:
    vector = packed((0.5, -1.0))
    for form, expected in (("float", (0.5, -1.0)), ("base64", vector)):
        request = openai_embeddings.read({"model": "e", "input": ["a"], "encoding_format": form})
        told = openai_embeddings.answer(request, [vector], "m", 3)
        assert told["data"] == [{"object": "embedding", "index": 0, "embedding": expected}]
        assert (told["object"], told["model"], told["usage"]["prompt_tokens"]) == ("list", "m", 3)


@pytest.mark.parametrize(
    ("over", "param", "says"),
    [
        ({"input": []}, "input", "at least one"),
        ({"input": None}, "input", "expected a text"),
        ({"input": ["a", ""]}, "input", "input[1]"),
        ({"input": [1, 2]}, "input", "send the text itself"),
        ({"input": [[1], [2]]}, "input", "send the text itself"),
        ({"input": ["a"] * 2049}, "input", "at most 2048"),
        ({"dimensions": 0}, "dimensions", "from 1"),
        ({"dimensions": True}, "dimensions", "from 1"),
        ({"encoding_format": "int8"}, "encoding_format", "base64"),
        ({"purpose": "fun"}, "purpose", "query"),
        ({"model": ""}, "model", "GET /v1/models"),
        ({"texts": ["a"]}, "texts", "no such field"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_its_name(over: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(Failed) as failed:
        openai_embeddings.read({"model": "e", "input": "a", **over})
    assert failed.value.error.param == param
    assert says in str(failed.value.error)


NAMES = [f"m/{number}" for number in range(5)]


def ids(page: dict[str, Any]) -> list[str]:
    return [one["id"] for one in page["data"]]


def test_anthropics_list_has_pages_in_both_directions() -> None:
    first = openai_models.anthropic_list(NAMES, {"limit": "2"})
    assert (ids(first), first["has_more"], first["first_id"], first["last_id"]) == (NAMES[:2], True, "m/0", "m/1")
    second = openai_models.anthropic_list(NAMES, {"limit": "3", "after_id": "m/1"})
    assert (ids(second), second["has_more"]) == (NAMES[2:], False)
    back = openai_models.anthropic_list(NAMES, {"limit": "1", "before_id": "m/2"})
    assert (ids(back), back["has_more"]) == (["m/1"], True)
    none = openai_models.anthropic_list([], {})
    assert (none["data"], none["has_more"], none["first_id"], none["last_id"]) == ([], False, None, None)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "many"}, {"limit": "1001"}, {"after_id": "other"}])
def test_a_page_that_does_not_exist_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Failed) as failed:
        openai_models.anthropic_list(NAMES, query)
    assert failed.value.error.param in query

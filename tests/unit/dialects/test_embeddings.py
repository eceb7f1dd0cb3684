"""Each embedder: what it asks, what it reads, and what it refuses to take for vectors."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from catalogue.quirks import Quirks
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Usage
from job_contracts.embeddings import EmbeddingRequest, Embeddings, packed, unpacked
from job_contracts.failures import Failure, FailureKind
from workers.dialects.embeddings import EMBEDDERS
from workers.dialects.embeddings.asking import too_many
from workers.dialects.port import Decoded, Encoded, Target

K = FailureKind
ONE, TWO, THREE = (0.5, -0.25), (1.0, 0.0), (0.125, 2.0)
THREE_TEXTS = EmbeddingRequest(inputs=("a", "b", "c"))


def target(dialect: str, *, model: str = "m", base_url: str = "https://e.invalid/v1", **quirks: Any) -> Target:
    row = ModelRow(name=model, quirks=quirks)
    provider = ProviderRow.model_validate({"name": "p", "dialect": dialect, "base_url": base_url, "models": [row]})
    return Target(provider, provider.model(model))


def encoded(dialect: str, request: EmbeddingRequest, **where: Any) -> Encoded:
    return EMBEDDERS[dialect].encode(request, target(dialect, **where))


def asked(dialect: str, request: EmbeddingRequest, **where: Any) -> tuple[str, Any]:
    made = encoded(dialect, request, **where)
    return made.path, json.loads(made.body)


def read(dialect: str, document: Any, request: EmbeddingRequest = THREE_TEXTS, **how: Any) -> Decoded | Failure:
    """The answer, fed in pieces of seven bytes."""
    most = how.pop("max_bytes", 1 << 20)
    media = how.pop("content_type", "application/json")
    decoder = EMBEDDERS[dialect].decoder(request, target(dialect, **how), content_type=media, max_bytes=most)
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    for at in range(0, len(body), 7):
        assert decoder.feed(body[at : at + 7]) == ()
    return decoder.finish()


def vectors(outcome: Decoded | Failure) -> tuple[tuple[float, ...], ...]:
    assert isinstance(outcome, Decoded), outcome
    assert outcome.embeddings is not None
    return outcome.embeddings.vectors


def kind(outcome: Decoded | Failure) -> FailureKind:
    assert isinstance(outcome, Failure), outcome
    assert outcome.provider == "p"
    return outcome.kind


def rows(*found: Any) -> dict[str, Any]:
    """An answer as OpenAI writes it: ``(index, vector)``."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in found]
    usage = {"prompt_tokens": 6, "total_tokens": 6}
    return {"object": "list", "model": "m-1", "data": data, "usage": usage}


ANSWERS: dict[str, Any] = {
    "openai_chat": rows((0, ONE), (1, TWO), (2, THREE)),
    "openai_responses": rows((0, ONE), (1, TWO), (2, THREE)),
    "gemini": {"embeddings": [{"values": one} for one in (ONE, TWO, THREE)]},
    "cohere": {
        "embeddings": {"float": [ONE, TWO, THREE]},
        "meta": {"billed_units": {"input_tokens": 6}},
        "response_type": "embeddings_by_type",
    },
    "ollama": {"model": "m-1", "embeddings": [ONE, TWO, THREE], "prompt_eval_count": 6},
    "bedrock": {"embeddings": {"float": [ONE, TWO, THREE]}, "response_type": "embeddings_by_type"},
}
every_dialect = pytest.mark.parametrize("dialect", ANSWERS)


def test_every_embedder_is_tried_here() -> None:
    assert ANSWERS.keys() == EMBEDDERS.keys()


# -- what is asked


def test_openai_is_asked_for_all_texts_at_once_as_base64() -> None:
    request = EmbeddingRequest(inputs=("a", "ü"), dimensions=256)
    path, body = asked("openai_chat", request)
    assert path == "/embeddings"
    assert body == {"model": "m", "input": ["a", "ü"], "encoding_format": "base64", "dimensions": 256}


def test_copies_of_openai_differ_by_their_rows() -> None:
    request = EmbeddingRequest(inputs=("a",), dimensions=256, purpose="document")
    quirks = {
        "embed_encoding": "",
        "embed_dimensions_field": "output_dimension",
        "embed_purpose_field": "input_type",
        "embed_purposes": ("document=passage", "=passage"),
        "embed_path": "/models/{model}/embeddings",
    }
    path, body = asked("openai_chat", request, model="a/b", **quirks)
    assert path == "/models/a%2Fb/embeddings"
    assert body == {"model": "a/b", "input": ["a"], "output_dimension": 256, "input_type": "passage"}
    _, plain = asked("openai_chat", EmbeddingRequest(inputs=("a",)), **quirks)
    assert plain["input_type"] == "passage"


def test_gemini_is_asked_for_a_batch_of_contents() -> None:
    request = EmbeddingRequest(inputs=("a", "b"), dimensions=256, purpose="query")
    path, body = asked("gemini", request, model="gemini-embedding-001")
    assert path == "/models/gemini-embedding-001:batchEmbedContents"
    assert body["requests"][1] == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "b"}]},
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 256,
    }


def test_vertex_is_asked_to_predict_without_cutting_texts() -> None:
    request = EmbeddingRequest(inputs=("a", "b"), dimensions=256, purpose="clustering")
    path, body = asked("gemini", request, model="text-embedding-005", embed_method="predict")
    assert path == "/models/text-embedding-005:predict"
    assert body["instances"][1] == {"content": "b", "task_type": "CLUSTERING"}
    assert body["parameters"] == {"autoTruncate": False, "outputDimensionality": 256}


def test_gemini_may_be_asked_for_one_text_alone() -> None:
    path, body = asked("gemini", EmbeddingRequest(inputs=("a",)), embed_method="embedContent")
    assert path == "/models/m:embedContent"
    assert body == {"content": {"parts": [{"text": "a"}]}}


@pytest.mark.parametrize(("base_url", "path"), [("https://c.invalid", "/v2/embed"), ("https://c.invalid/v2", "/embed")])
def test_cohere_is_told_a_purpose_always_and_never_cuts_in_silence(base_url: str, path: str) -> None:
    found, body = asked("cohere", EmbeddingRequest(inputs=("a",), dimensions=256, purpose="query"), base_url=base_url)
    assert found == path
    assert body == {
        "model": "m",
        "texts": ["a"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "output_dimension": 256,
        "truncate": "NONE",
    }
    assert asked("cohere", EmbeddingRequest(inputs=("a",)))[1]["input_type"] == "search_document"


def test_cohere_has_no_word_for_similarity_and_says_so() -> None:
    made = encoded("cohere", EmbeddingRequest(inputs=("a",), purpose="similarity"))
    (loss,) = made.losses
    assert (loss.kind, loss.field) == ("rewritten", "embedding.purpose")
    assert json.loads(made.body)["input_type"] == "search_document"


@pytest.mark.parametrize(("base_url", "path"), [("http://o.invalid", "/api/embed"), ("http://o.invalid/api", "/embed")])
def test_ollama_is_asked_natively_and_does_not_cut(base_url: str, path: str) -> None:
    found, body = asked("ollama", EmbeddingRequest(inputs=("a", "b"), dimensions=64), base_url=base_url)
    assert found == path
    assert body == {"model": "m", "input": ["a", "b"], "truncate": False, "dimensions": 64}


def test_bedrock_models_are_asked_each_in_its_own_form() -> None:
    request = EmbeddingRequest(inputs=("a",), dimensions=256, purpose="query")
    path, titan = asked("bedrock", request, model="amazon.titan-embed-text-v2:0")
    assert path == "/model/amazon.titan-embed-text-v2%3A0/invoke"
    assert titan == {"inputText": "a", "dimensions": 256}
    _, cohere = asked("bedrock", request, embed_body="many")
    assert cohere == {
        "texts": ["a"],
        "input_type": "search_query",
        "truncate": "NONE",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }


@every_dialect
def test_a_length_that_cannot_be_chosen_is_a_loss_and_the_real_one_is_told(dialect: str) -> None:
    request = EmbeddingRequest(inputs=("a", "b", "c"), dimensions=256)
    quirks: dict[str, Any] = {"embed_dimensions": False}
    if dialect == "bedrock":
        quirks["embed_body"] = "many"
    made = encoded(dialect, request, **quirks)
    assert [(loss.kind, loss.field) for loss in made.losses] == [("dropped", "embedding.dimensions")]
    assert b"256" not in made.body
    found = read(dialect, ANSWERS[dialect], request, **quirks)
    assert isinstance(found, Decoded)
    assert found.embeddings is not None
    assert found.embeddings.dimensions == 2


@pytest.mark.parametrize("dialect", ["openai_chat", "ollama", "bedrock"])
def test_a_purpose_without_a_word_is_a_loss(dialect: str) -> None:
    made = encoded(dialect, EmbeddingRequest(inputs=("a",), purpose="query"))
    assert [(loss.kind, loss.field) for loss in made.losses] == [("dropped", "embedding.purpose")]


def test_purposes_of_a_row_must_be_purposes() -> None:
    with pytest.raises(ValidationError, match="purpose=word"):
        Quirks(embed_purposes=("documents=passage",))


# -- how many


@pytest.mark.parametrize(
    ("dialect", "quirks", "most"),
    [
        ("openai_chat", {}, 2048),
        ("openai_chat", {"embed_most": 16}, 16),
        ("gemini", {"embed_most": 100}, 100),
        ("gemini", {"embed_most": 100, "embed_method": "embedContent"}, 1),
        ("cohere", {"embed_most": 96}, 96),
        ("ollama", {}, 2048),
        ("bedrock", {"embed_most": 96}, 1),
        ("bedrock", {"embed_most": 96, "embed_body": "many"}, 96),
    ],
)
def test_more_texts_than_a_target_takes_are_a_failure_with_the_numbers(
    dialect: str, quirks: dict[str, Any], most: int
) -> None:
    where = target(dialect, **quirks)
    assert EMBEDDERS[dialect].most(where) == most
    assert too_many(EmbeddingRequest(inputs=("a",) * most), where, most) is None
    if most < 2048:
        failure = too_many(EmbeddingRequest(inputs=("a",) * (most + 1)), where, most)
        assert failure is not None
        assert failure.kind is K.REQUEST_EXCEEDS_LIMIT
        assert f"{most + 1} inputs" in failure.message
        assert f"takes {most}" in failure.message
        assert failure.remedy is not None
        assert f"batch_size={most}" in failure.remedy


# -- what is read


@every_dialect
def test_vectors_come_in_the_order_of_the_texts(dialect: str) -> None:
    found = read(dialect, ANSWERS[dialect])
    assert vectors(found) == (ONE, TWO, THREE)
    assert isinstance(found, Decoded)
    assert found.answer.parts == ()
    told = {"gemini", "bedrock"}
    assert found.usage == (Usage(reported=False) if dialect in told else Usage(input=6))


def test_openais_index_decides_and_not_the_place() -> None:
    shuffled = rows((2, THREE), (0, packed(ONE)), (1, TWO))
    found = read("openai_chat", shuffled)
    assert vectors(found) == (ONE, TWO, THREE)
    assert isinstance(found, Decoded)
    assert found.model == "m-1"


def test_rows_without_an_index_are_taken_as_they_come() -> None:
    document = rows((0, ONE), (1, TWO), (2, THREE))
    for row in document["data"]:
        del row["index"]
    assert vectors(read("openai_chat", document)) == (ONE, TWO, THREE)


def test_base64_is_passed_on_as_it_came() -> None:
    data = packed([0.1, -0.7, 3e-5])
    found = read("openai_chat", rows((0, data)), EmbeddingRequest(inputs=("a",)))
    assert isinstance(found, Decoded)
    assert found.embeddings == Embeddings(data=(data,), dimensions=3)


def test_other_forms_of_googles_and_amazons_answers_are_read() -> None:
    one = EmbeddingRequest(inputs=("a",))
    assert vectors(read("gemini", {"embedding": {"values": ONE}}, one)) == (ONE,)
    statistics = {"truncated": True, "token_count": 7}
    cut = read("gemini", {"predictions": [{"embeddings": {"values": ONE, "statistics": statistics}}]}, one)
    assert vectors(cut) == (ONE,)
    assert isinstance(cut, Decoded)
    assert cut.usage == Usage(input=7)
    assert [(loss.kind, loss.field) for loss in cut.losses] == [("clamped", "answer.embeddings[0]")]
    counted = {"embeddings": [{"values": ONE, "statistics": {"tokenCount": 5}}]}
    of_vertex = read("gemini", counted, one)
    assert isinstance(of_vertex, Decoded)
    assert of_vertex.usage == Usage(input=5)
    titan = read("bedrock", {"embedding": ONE, "inputTextTokenCount": 3}, one)
    assert vectors(titan) == (ONE,)
    assert isinstance(titan, Decoded)
    assert titan.usage == Usage(input=3)


def test_older_and_packed_forms_of_coheres_answers_are_read() -> None:
    assert vectors(read("cohere", {"embeddings": [ONE, TWO, THREE]})) == (ONE, TWO, THREE)
    by_type = {"embeddings": {"base64": [packed(one) for one in (ONE, TWO, THREE)]}}
    assert vectors(read("cohere", by_type)) == (ONE, TWO, THREE)


@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_numbers_and_base64_are_read_as_the_same_vectors(given_vectors: list[list[float]]) -> None:
    request = EmbeddingRequest(inputs=("a",) * len(given_vectors))
    floats = read("openai_chat", rows(*enumerate(given_vectors)), request)
    base64 = read("openai_chat", rows(*enumerate(map(packed, given_vectors))), request)
    assert vectors(floats) == vectors(base64) == tuple(map(tuple, given_vectors))
    assert [unpacked(packed(vector)) for vector in given_vectors] == [tuple(vector) for vector in given_vectors]


# -- what is no answer


@every_dialect
def test_a_missing_vector_is_never_a_success(dialect: str) -> None:
    four = EmbeddingRequest(inputs=("a", "b", "c", "d"))
    two = EmbeddingRequest(inputs=("a", "b"))
    assert kind(read(dialect, ANSWERS[dialect], four)) is K.MALFORMED_RESPONSE
    assert kind(read(dialect, ANSWERS[dialect], two)) is K.MALFORMED_RESPONSE


@every_dialect
def test_a_length_other_than_the_asked_one_is_never_a_success(dialect: str) -> None:
    found = read(dialect, ANSWERS[dialect], EmbeddingRequest(inputs=("a", "b", "c"), dimensions=3))
    assert kind(found) is K.MALFORMED_RESPONSE
    assert isinstance(found, Failure)
    assert "3 numbers were asked for, and 2 came" in found.message


@pytest.mark.parametrize(
    "wrong",
    [
        rows((0, ONE), (0, TWO), (2, THREE)),
        rows((0, ONE), (1, TWO), (7, THREE)),
        rows((0, ONE), (1, TWO), (-1, THREE)),
        rows((0, ONE), (1, TWO), (2, (1.0,))),
        rows((0, ()), (1, ()), (2, ())),
        rows((0, ONE), (1, TWO), (2, ("x", 1.0))),
        rows((0, ONE), (1, TWO), (2, None)),
        rows((0, ONE), (1, TWO), (2, "no base64!")),
        rows((0, ONE), (1, TWO), (2, "AAAA")),
        rows((0, ONE), (1, TWO), (2, (math.nan, 1.0))),
        rows((0, ONE), (1, TWO), (2, (1e300, 1.0))),
        rows((0, ONE), (1, TWO), (2, packed((math.inf, 1.0)))),
        {"object": "list", "data": None},
        {"choices": []},
        [1, 2],
        b"<html>busy</html>",
        b"",
        b"not json",
    ],
    ids=str,
)
def test_what_is_no_set_of_vectors_is_malformed(wrong: Any) -> None:
    assert kind(read("openai_chat", wrong)) is K.MALFORMED_RESPONSE


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    whole = json.dumps(ANSWERS["openai_chat"]).encode()
    for end in range(1, len(whole)):
        assert kind(read("openai_chat", whole[:end])) in {K.STREAM_TRUNCATED, K.MALFORMED_RESPONSE}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"error": {"message": "overloaded", "type": "overloaded_error"}}, K.OVERLOADED),
        ([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "too many requests"}}], K.RATE_LIMIT),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, K.RATE_LIMIT),
        ({"message": "invalid api key"}, K.AUTH),
    ],
)
@every_dialect
def test_an_error_in_a_200_is_the_failure_it_says(dialect: str, document: Any, expected: FailureKind) -> None:
    assert kind(read(dialect, document)) is expected


def test_an_answer_beyond_the_bound_is_refused_while_it_comes() -> None:
    decoder = EMBEDDERS["openai_chat"].decoder(
        THREE_TEXTS, target("openai_chat"), content_type="application/json", max_bytes=10
    )
    decoder.feed(b"x" * 11)
    assert decoder.failure is not None
    assert decoder.failure.kind is K.RESPONSE_TOO_LARGE
    assert decoder.finish() is decoder.failure


@given(dialect=st.sampled_from(sorted(ANSWERS)), data=st.data())
def test_any_json_and_any_bytes_are_an_answer_or_a_failure(dialect: str, data: st.DataObject) -> None:
    names = st.sampled_from(["data", "embedding", "embeddings", "values", "float", "index", "predictions", "usage"])
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    tree = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
    document = data.draw(tree | st.binary(max_size=60))
    found = read(dialect, document)
    if isinstance(found, Decoded):
        assert found.embeddings is not None
        assert len(found.embeddings.data) == len(THREE_TEXTS.inputs)


def test_vectors_of_signed_bytes_are_numbers_where_the_row_says_so() -> None:
    data = [{"index": at, "embedding": text} for at, text in enumerate(("/wCAfw==", "AQIDBA==", "AAAAAA=="))]
    found = vectors(read("openai_chat", {"data": data}, embed_encoding="base64_int8"))
    assert found == ((-1.0, 0.0, -128.0, 127.0), (1.0, 2.0, 3.0, 4.0), (0.0, 0.0, 0.0, 0.0))
    data[1]["embedding"] = "AQID!"
    assert kind(read("openai_chat", {"data": data}, embed_encoding="base64_int8")) is K.MALFORMED_RESPONSE
    path, body = asked("openai_chat", THREE_TEXTS, embed_encoding="base64_int8", embed_path="/v1/embeddings")
    assert (path, body["encoding_format"]) == ("/v1/embeddings", "base64_int8")

"""Vectors on the wire: what is packed comes out as it was, what is no vector is an error, a job asks one thing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from job_contracts.codec import ContractError, decode, encode
from job_contracts.embeddings import MOST_INPUTS, EmbeddingRequest, Embeddings, packed, unpacked
from job_contracts.jobs import Job
from tests.support import builders
from tests.support.strategies import embedding_jobs

floats = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40)


@given(floats)
def test_a_vector_comes_out_as_it_was_packed(vector: list[float]) -> None:
    assert unpacked(packed(vector)) == tuple(vector)
    assert packed(unpacked(packed(vector))) == packed(vector)


@given(st.lists(floats, max_size=4))
def test_vectors_travel_in_a_result_and_come_out_in_order(vectors: list[list[float]]) -> None:
    found = decode(Embeddings, encode(Embeddings(data=tuple(map(packed, vectors)), dimensions=3)))
    assert found.vectors == tuple(map(tuple, vectors))


@given(embedding_jobs)
def test_an_embedding_job_is_read_as_it_was_written(job: Job) -> None:
    assert decode(Job, encode(job)) == job


@pytest.mark.parametrize("data", ["AAA", "no base64!", base64.b64encode(b"12345").decode(), "AAAA\n"])
def test_what_is_no_vector_is_a_value_error(data: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpacked(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": ()},
        {"inputs": ("",)},
        {"inputs": ("a",) * (MOST_INPUTS + 1)},
        {"inputs": ("a",), "dimensions": 0},
        {"inputs": ("a",), "purpose": "fun"},
    ],
    ids=["none", "empty", "many", "dimensions", "purpose"],
)
def test_a_request_has_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EmbeddingRequest.model_validate(wrong)


def test_a_job_asks_for_what_its_kind_says_and_nothing_else() -> None:
    job = Job.model_validate(
        {"id": "stem-1", "route": "r", "kind": "embedding", "embedding": {"inputs": ["a", "b"], "dimensions": 4}}
    )
    assert decode(Job, encode(job)) == job
    with pytest.raises(ValueError, match="no conversation"):
        _ = job.chat
    plain = builders.job().model_dump(mode="json", exclude_none=True)
    for wrong in ({**plain, "kind": "embedding"}, {**plain, "embedding": {"inputs": ["a"]}}):
        with pytest.raises(ContractError, match="nothing else to ask"):
            decode(Job, json.dumps(wrong))

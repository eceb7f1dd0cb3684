"""Drafts as answers: only one that is what the job asks for may stand without a verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from job_contracts.attempts import Checking, Draft
from job_contracts.jobs import BlobRef, JobState
from runtime.settings.following import Verify
from scheduler.policy.stages import Stages, accept_from, checking, staged
from tests.support.world import config

BLOB = BlobRef(size=1, sha256="0" * 64, chunks=1)


JUDGED: dict[str, Any] = {
    "by": "premium",
    "mode": "before",
    "when": "low_confidence",
    "confidence": "judge",
    "judge": "cheap",
    "share": 1e-9,
    "below": 0.6,
}


def with_draft(draft: Draft | None) -> Any:
    return SimpleNamespace(story=SimpleNamespace(draft=draft))


def job(*, fits: bool) -> Any:
    return SimpleNamespace(story=SimpleNamespace(draft=Draft(deployment="a/m", blob=BLOB, fits=fits)))


@pytest.mark.parametrize("fits", [True, False])
def test_a_draft_that_is_not_what_was_asked_for_is_no_answer(fits: bool) -> None:
    found = Stages(1, 2).answer(job(fits=fits), JobState.FAILED)
    assert (found is not None) is fits
    assert Stages(1, 2, returns=False).answer(job(fits=fits), JobState.FAILED) is None
    assert Stages(1, 2).answer(job(fits=fits), JobState.CANCELLED) is None


def test_a_job_with_a_draft_goes_to_a_judge_and_with_a_score_to_a_verifier() -> None:
    told = config(
        providers={"gamma": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"}},
        routes={
            "fast": {"deployments": ["alpha/m"], "verify": JUDGED},
            "cheap": {"deployments": ["beta/m"]},
            "premium": {"deployments": ["beta/m", "gamma/m"]},
        },
    )
    names, stages = staged("fast", told, {name: route.deployments for name, route in told.routes.items()})
    assert names == ("alpha/m", "beta/m", "gamma/m")
    assert stages is not None
    judged = Draft(deployment="alpha/m", blob=BLOB, score=0.3)
    unjudged = judged.model_copy(update={"score": None})
    assert [stages.closed(with_draft(draft)) for draft in (None, unjudged, judged)] == [0b110, 0b101, 0b001]
    assert stages.reason(with_draft(unjudged), 2) == "it verifies answers"
    assert stages.reason(with_draft(judged), 0) == "it has made its draft"
    verify = told.routes["fast"].verify
    assert [accept_from(verify, draft) for draft in (None, unjudged, judged)] == [None, 0.6, None]
    assert checking(verify, "a", "t") == Checking(below=0.6, unfit=True, judged=True)


@pytest.mark.parametrize(
    "other", [{"confidence": "logprobs"}, {"judge": None}, {"mode": "after", "budget": {"day": 1}}]
)
def test_a_judge_goes_with_confidence_by_a_judge_before_the_answer_alone(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"judge"):
        Verify.model_validate(JUDGED | other)


def test_the_assignment_says_where_confidence_comes_from() -> None:
    told = Verify(by="p", mode="before", when="low_confidence", share=1e-9, below=0.7, confidence="self_reported")
    assert checking(told, "a", "t") == Checking(below=0.7, self_reported=True, unfit=True)
    plain = Verify(by="p", mode="before", when="low_confidence", share=1e-9, below=0.7)
    assert checking(plain, "a", "t") == Checking(below=0.7, unfit=True)
    assert checking(Verify(by="p", mode="before", when="all"), "a", "t") == Checking(always=True)


@pytest.mark.parametrize("other", [{"mode": "after", "budget": {"day": 1}}, {"when": "sample"}])
def test_where_a_model_cannot_be_asked_how_sure_it_is_the_setting_is_refused(other: dict[str, Any]) -> None:
    asked = {"by": "p", "mode": "before", "when": "low_confidence", "confidence": "self_reported"}
    with pytest.raises(ValueError, match="goes with mode: before and when: low_confidence"):
        Verify.model_validate(asked | other)

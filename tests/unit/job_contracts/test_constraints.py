"""Hard constraints: what meets them, what is said of what does not, and that the unknown never meets anything."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.codec import ContractError, check, decode, encode
from job_contracts.constraints import Constraints, Traits, joined, unmet
from job_contracts.jobs import Job
from tests.support import builders
from tests.support.strategies_constraints import MODELS, PRECISIONS, PRICES, PROVIDERS, REGIONS, constraints

KNOWN = Traits(
    provider="onprem",
    model="qwen3-32b",
    region="eu-central-1",
    hosting="self",
    zero_retention=True,
    quantisation="fp8",
    input_price=Decimal("0.2"),
    output_price=Decimal("0.6"),
    vendor="vllm",
    names=("qwen3-32b", "qwen/qwen3-32b"),
)
all_traits = st.builds(
    Traits,
    provider=st.sampled_from(PROVIDERS),
    model=st.sampled_from(MODELS),
    region=st.none() | st.sampled_from(REGIONS),
    hosting=st.sampled_from([None, "self", "managed"]),
    zero_retention=st.sampled_from([None, False, True]),
    quantisation=st.none() | st.sampled_from(PRECISIONS),
    input_price=st.none() | st.sampled_from(PRICES),
    output_price=st.none() | st.sampled_from(PRICES),
    vendor=st.none() | st.sampled_from(["vendor-a", "vendor-b"]),
    names=st.sampled_from([(), ("alias-x",)]),
)


def forgetting(traits: Traits, name: str) -> Traits:
    """The same, but for one thing that is not known."""
    changed: dict[str, Any] = {name: None}
    return replace(traits, **changed)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"residency": ["EU-*"]},
        {"hosting": "self"},
        {"zero_retention": True},
        {"providers": ["on*"]},
        {"models": ["qwen3-*"]},
        {"models": ["onprem/*"]},
        {"deny_providers": ["openai"], "deny_models": ["gpt-*"]},
        {"max_input_price": "0.2", "max_output_price": 0.6},
        {"quantisation": ["bf16", "fp8"]},
    ],
)
def test_a_deployment_that_is_what_is_asked_for_meets_it(asked: dict[str, Any]) -> None:
    assert check(Constraints, asked).met(KNOWN) is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"residency": ["eu", "us-*"]}, "its region is 'eu-central-1', and only eu, us-* is allowed"),
        ({"hosting": "managed"}, "its hosting is 'self'"),
        ({"providers": ["openai"]}, "provider 'onprem' is not among those allowed (openai)"),
        ({"providers": ["vllm"]}, "provider 'onprem' is not among"),
        ({"deny_providers": ["VLLM"]}, "provider 'vllm' is denied"),
        ({"deny_models": ["qwen/*"]}, "model 'qwen/qwen3-32b' is denied"),
        ({"deny_models": ["onprem/*"]}, "model 'onprem/qwen3-32b' is denied"),
        ({"models": ["qwen/*"]}, "model 'qwen3-32b' is not among those allowed"),
        (
            {"max_input_price": "0.19"},
            "its input price is 0.2 US dollars a million tokens, and at most 0.19",
        ),
        ({"max_output_price": "0.5"}, "its output price is 0.6"),
        ({"quantisation": ["bf16"]}, "its quantisation is 'fp8', and only bf16 is allowed"),
    ],
)
def test_what_does_not_meet_them_is_told_why(asked: dict[str, Any], said: str) -> None:
    assert said in (check(Constraints, asked).met(KNOWN) or "")


@pytest.mark.parametrize(
    ("asked", "unknown"),
    [
        ({"residency": ["*"]}, "region"),
        ({"hosting": "managed"}, "hosting"),
        ({"zero_retention": True}, "zero_retention"),
        ({"max_input_price": 1_000_000}, "input_price"),
        ({"max_output_price": 1_000_000}, "output_price"),
        ({"quantisation": ["*"]}, "quantisation"),
    ],
)
def test_what_is_not_known_meets_nothing(asked: dict[str, Any], unknown: str) -> None:
    assert "known" in (check(Constraints, asked).met(forgetting(KNOWN, unknown)) or "")


@given(constraints, constraints, all_traits)
def test_of_two_the_stricter_holds_in_everything(one: Constraints, other: Constraints, traits: Traits) -> None:
    both = unmet(joined(one, other), traits)
    assert (both is None) == (one.met(traits) is None and other.met(traits) is None)


@given(constraints, all_traits, st.sampled_from(["region", "hosting", "zero_retention", "input_price", "quantisation"]))
def test_knowing_less_never_opens_a_door(asked: Constraints, traits: Traits, forgotten: str) -> None:
    if asked.met(traits) is not None:
        assert asked.met(forgetting(traits, forgotten)) is not None


@given(constraints)
def test_they_travel_as_they_are(asked: Constraints) -> None:
    job = builders.job(constraints=asked)
    assert decode(Job, encode(job)).constraints == asked


def test_those_that_ask_for_nothing_or_for_the_same_are_left_out_when_they_are_joined() -> None:
    eu = Constraints(residency=("eu",))
    assert joined(None, Constraints(), eu, Constraints(residency=("eu",))) == (eu,)


def test_a_constraint_that_is_not_known_here_is_refused_and_not_ignored() -> None:
    data = encode(builders.job()).replace(b'"lane"', b'"constraints":{"carbon":"low"},"lane"')
    with pytest.raises(ContractError, match="carbon"):
        decode(Job, data)

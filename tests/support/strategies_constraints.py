"""Any constraints, and any deployment that may or may not meet them: small worlds, so that both happen often."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from job_contracts.constraints import Constraints

REGIONS = ("eu", "eu-west-1", "us", "US-east-1", "global")
PROVIDERS = ("a", "b", "c", "d")
MODELS = ("m", "n-mini", "n-large")
PRECISIONS = ("bf16", "fp8", "int4")
PRICES = (Decimal(0), Decimal("0.5"), Decimal(2), Decimal(10))


def globs(*words: str) -> st.SearchStrategy[Any]:
    """Nothing, or a few of these."""
    return st.none() | st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True).map(tuple)


constraints = st.builds(
    Constraints,
    residency=globs("eu", "eu-*", "us*", "*"),
    hosting=st.sampled_from([None, None, "self", "managed"]),
    zero_retention=st.sampled_from([False, False, True]),
    providers=globs(*PROVIDERS, "*"),
    deny_providers=st.none() | globs("a", "vendor-b"),
    models=globs(*MODELS, "n-*", "a/*"),
    deny_models=st.none() | globs("n-*", "alias-*"),
    max_input_price=st.none() | st.sampled_from(PRICES),
    max_output_price=st.none() | st.sampled_from(PRICES),
    quantisation=st.none() | globs(*PRECISIONS, "*"),
)
light_constraints = st.builds(
    Constraints,
    residency=globs("eu", "eu-*", "us*"),
    hosting=st.sampled_from([None, "self", "managed"]),
    deny_models=globs("n-*", "m"),
    max_output_price=st.none() | st.sampled_from(PRICES),
)
"""Those that many deployments meet."""

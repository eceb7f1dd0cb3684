"""How many examples a property is tried on: few in every run, a hundred times as many when asked for.

``pytest --hypothesis-profile=long --timeout=0 tests/conformance/test_dialects_keep.py`` is the long run.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

USUAL = 100
"""Hypothesis's own number: what a profile says is told in proportion to it."""


def examples(count: int) -> settings:
    """Settings of a test that tries ``count`` examples in a usual run. Conversations are large: no health checks."""
    profile = settings.get_profile(settings.get_current_profile_name())
    return settings(
        max_examples=max(1, count * profile.max_examples // USUAL),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )

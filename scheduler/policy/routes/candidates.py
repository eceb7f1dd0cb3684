"""The hard constraints: which deployments of a route can serve a job at all, and why the others cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.jobs import Need
    from scheduler.policy.rules import DeploymentRule

SLACK = 1.25
"""A producer's count may be a quarter too high: a job is kept from a deployment only when it surely does not fit."""

_OF_VECTORS = frozenset({"embeddings", "images", "files"})
"""All that a model can do which makes vectors and no answers."""


def rejection(rule: DeploymentRule, needs: Sequence[Need], input_estimate: int) -> str | None:
    """Why this deployment can never serve such a job, ``None`` if it can. What is not known is no reason."""
    vectors = "embeddings" in needs
    if rule.capabilities is not None:
        if not vectors and only_vectors(rule):
            return "makes embeddings and no answers"
        missing = [need for need in needs if need not in rule.capabilities]
        if missing:
            return f"cannot do {', '.join(missing)}"
    # A job's texts to be embedded are counted together, and each has the window for itself.
    return None if vectors else too_long(rule, input_estimate)


def too_long(rule: DeploymentRule, input_estimate: int) -> str | None:
    """Why a conversation of about so many tokens surely does not fit there, ``None`` if it may."""
    if rule.window is not None and input_estimate > rule.window * SLACK:
        return f"its context window of {rule.window} tokens is too small for about {input_estimate}"
    return None


def only_vectors(rule: DeploymentRule) -> bool:
    """Whether it makes vectors and no answers: it can do nothing else, but for what it can look at."""
    can = rule.capabilities
    return can is not None and "embeddings" in can and can <= _OF_VECTORS


def smaller_windows(rules: Sequence[DeploymentRule], failed: int, input_estimate: int) -> int:
    """Mask of the deployments that are no better than ``failed``, where the conversation did not fit.

    Only a window that is known and larger helps; where the failed one is unknown, it must be larger than the estimate.
    """
    too_small = rules[failed].window
    least = input_estimate if too_small is None else too_small
    mask = 0
    for index, rule in enumerate(rules):
        if index == failed or rule.window is None or rule.window <= least:
            mask |= 1 << index
    return mask


def same_domain(rules: Sequence[DeploymentRule], failed: int) -> int:
    """Mask of the deployments that share the limits of ``failed``."""
    return sum(1 << index for index, rule in enumerate(rules) if rule.domain == rules[failed].domain)

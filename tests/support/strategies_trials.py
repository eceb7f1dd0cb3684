"""Messages about experiments, for property tests; ``tests.support.strategies`` has them among all others."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from job_contracts import trials
from job_contracts.codec import Wire
from job_contracts.experiments import Metric
from tests.support.strategies_plain import counts, job_ids, maybe, small, some, whens, words

_scores = st.floats(0, 1)
_metrics = st.sampled_from(list(Metric))
_numbers = st.floats(-10, 10)
placed = st.builds(trials.Trial, experiment=words, arm=words, bucket=small, began=whens)
"""A job's place in an experiment."""
_differences = st.builds(
    trials.ToldDifference,
    metric=_metrics,
    estimate=_numbers,
    low=maybe(_numbers),
    high=maybe(_numbers),
    finding=st.sampled_from(["open", "different", "same"]),
    more=maybe(counts),
)
_arms = st.builds(
    trials.ToldArm,
    name=words,
    route=words,
    jobs=counts,
    failed=counts,
    mean_cost=maybe(_numbers),
    mean_seconds=maybe(_numbers),
    stopped=maybe(words),
    verdict=maybe(words),
    differences=some(_differences, most=2),
)
_lines = st.builds(trials.Happened, at=whens, what=words, why=words, who=words)
_told = st.builds(
    trials.ToldExperiment,
    name=words,
    route=words,
    running=st.booleans(),
    share=_scores,
    step=small,
    steps=small,
    began=whens,
    adopted=maybe(words),
    holding=words,
    refused=some(words, most=2),
    arms=some(_arms, most=2),
    audit=some(_lines, most=2),
)
TRIALS: Mapping[str, st.SearchStrategy[Wire]] = {
    "given_score": st.builds(trials.GivenScore, metric=_metrics, score=_scores, trial=maybe(placed)),
    "ask_feedback": st.builds(trials.AskFeedback, job=job_ids, score=_scores),
    "taken_feedback": st.builds(trials.TakenFeedback, job=job_ids, first=st.booleans(), experiment=maybe(words)),
    "ask_experiments": st.builds(trials.AskExperiments, name=maybe(words)),
    "ask_stop": st.builds(trials.AskStop, experiment=words, arm=words, why=st.text(max_size=20)),
    "told_experiments": st.builds(trials.ToldExperiments, experiments=some(_told, most=2)),
}
"""By the names of ``job_contracts.messages``."""

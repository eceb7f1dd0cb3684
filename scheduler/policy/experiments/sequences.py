"""Confidence sequences: intervals all of which hold together with the stated chance, however often one looks.

Means (cost, latency). A mean over n jobs behaves like Brownian motion seen at its information, one over its variance:
theta_hat - theta = B(I) / I (Scharfstein, Tsiatis and Robins, JASA 92, 1997, for the independent increments;
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 52, 2024, for the limit). Brownian motion stays below the boundary of Robbins's normal
mixture for ever (Robbins, Annals of Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe and Sekhon,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, 2021, the two-sided normal
mixture). That is a limit law: it wants some jobs first (``comparing.LEAST``), and simulations show that it holds then.

Rates and scores (between 0 and 1). For independent ones of mean p, and any q, the product of
(q/p)^x ((1-q)/(1-p))^(1-x) is a nonnegative supermartingale that begins at 1: each factor is convex in x and so below
its chord, whose expectation is 1. It is the wealth of a bettor against p (Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", JRSS B 86, 2024). Mixed over q by a Beta(1/2, 1/2) (Robbins 1970; Howard et al.
2021, the beta-binomial mixture; Krichevsky and Trofimov 1981 for the halves) it has a closed form in count and sum
alone, and by Ville's inequality it ever reaches 1/alpha with a chance of at most alpha. This holds from the first job
on. Bets that learn the variance as they go would be narrower for scores; they depend on the order of jobs and cannot
be added up. So means of scores are also compared as those above, and each way gets half of alpha.

Two rates. The product of both mixtures over the largest likelihood under pB - pA = delta (universal inference,
Wasserman, Ramdas and Balakrishnan, PNAS 117, 2020): the truth is a pair in the supremum, so Ville holds again.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_HALVINGS = 40
_FINE = 1e-7


class Interval(NamedTuple):
    """What is not ruled out."""

    low: float
    high: float


# --------------------------------------------------------------------------------------------------------------- means


@lru_cache(maxsize=256)  # asked at each look
def tuned(width: float, alpha: float) -> float:
    """The mixture's ``rho`` with which intervals are narrowest when they are about ``width`` to either side.

    It must not depend on what was seen. Howard et al. 2021, on tuning mixtures: about one ``c``-th of the information
    aimed at, with c = 2 log(1/alpha) + log(1 + 2 log(1/alpha)).
    """
    surely = 2 * log(1 / alpha)
    part = surely + log1p(surely)
    return (1 + 1 / part) * (log1p(part) + surely) / (width * width * part)


def half_width(information: float, alpha: float, rho: float) -> float:
    """To either side of a mean that has so much information, 1 / variance: the normal mixture's boundary over it."""
    if information <= 0:
        return inf
    reach = information + rho
    return sqrt(reach * log(reach / (rho * alpha * alpha))) / information


def information_for(target: float, alpha: float, rho: float, power: float) -> float:
    """The information by which a difference of ``target`` is found with the chance ``power``.

    By then an estimate, which is off by less than z / sqrt(I) to the wrong side with that chance, is beyond the
    boundary: half_width(I) + z / sqrt(I) <= target.
    """
    z = NormalDist().inv_cdf(power)
    low, high = 0.0, 1 / (target * target)
    while half_width(high, alpha, rho) + z / sqrt(high) > target:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = middle > 0 and half_width(middle, alpha, rho) + z / sqrt(middle) <= target
        low, high = (low, middle) if found else (middle, high)
    return high


# --------------------------------------------------------------------------------------------------------------- rates


def log_mixture(count: float, total: float) -> float:
    """Of the likelihood of s = ``total`` in n = ``count``, over a rate that is Beta(1/2, 1/2).

    log (B(1/2 + s, 1/2 + n - s) / B(1/2, 1/2)).
    """
    return lgamma(total + 0.5) + lgamma(count - total + 0.5) - lgamma(count + 1) - _LOG_PI


_LOG_PI = 2 * lgamma(0.5)


def log_likelihood(count: float, total: float, rate: float) -> float:
    """Of ``total`` in ``count`` at that rate."""
    return _times_log(total, rate) + _times_log(count - total, 1 - rate)


def _times_log(times: float, of: float) -> float:
    if times <= 0:
        return 0.0
    return times * log(of) if of > 0 else -inf


def rate_interval(count: float, total: float, alpha: float) -> Interval:
    """Of the mean of independent values between 0 and 1 whose sum is ``total``."""
    if count <= 0:
        return Interval(0.0, 1.0)
    least = log_mixture(count, total) - log(1 / alpha)
    middle = total / count
    low = _edge(0.0, middle, lambda rate: log_likelihood(count, total, rate) >= least)
    return Interval(low, _edge(1.0, middle, lambda rate: log_likelihood(count, total, rate) >= least))


def log_evidence(one: tuple[float, float], other: tuple[float, float], delta: float) -> float:
    """Log of the evidence that the second rate minus the first is not ``delta``; each is (count, sum)."""
    mixed = log_mixture(*one) + log_mixture(*other)
    return mixed - _most_likely(one, other, delta)


def difference_interval(one: tuple[float, float], other: tuple[float, float], alpha: float) -> Interval:
    """Of the second rate minus the first, where ``alpha`` is the chance of ever missing it."""
    if one[0] <= 0 or other[0] <= 0:
        return Interval(-1.0, 1.0)
    middle, most = other[1] / other[0] - one[1] / one[0], log(1 / alpha)

    def stays(delta: float) -> bool:
        return log_evidence(one, other, delta) < most

    return Interval(_edge(-1.0, middle, stays), _edge(1.0, middle, stays))


def _edge(outer: float, inner: float, stays: Callable[[float], bool]) -> float:
    """The place between the two, from ``inner`` on, up to which it ``stays``; a little outside rather than inside."""
    if stays(outer):
        return outer
    while abs(outer - inner) > _FINE:
        middle = (outer + inner) / 2
        if stays(middle):
            inner = middle
        else:
            outer = middle
    return outer


def _most_likely(one: tuple[float, float], other: tuple[float, float], delta: float) -> float:
    """The largest log likelihood of both, the rates ``delta`` apart: concave in the first one, found by its slope."""
    (n, s), (m, t) = one, other
    low, high = max(0.0, -delta), min(1.0, 1.0 - delta)
    if delta == 0:
        return log_likelihood(n + m, s + t, (s + t) / (n + m))
    for _ in range(_HALVINGS):
        if high - low <= _FINE * _FINE:
            break
        rate = (low + high) / 2
        if _slope(n, s, rate) + _slope(m, t, rate + delta) > 0:
            low = rate
        else:
            high = rate
    return max(
        log_likelihood(n, s, rate) + log_likelihood(m, t, min(1.0, max(0.0, rate + delta)))
        for rate in (low, (low + high) / 2, high)
    )


def _slope(count: float, total: float, rate: float) -> float:
    rising = 0.0 if total <= 0 else inf if rate <= 0 else total / rate
    falling = 0.0 if count - total <= 0 else inf if rate >= 1 else (count - total) / (1 - rate)
    return rising - falling


def relative(logarithm: float) -> float:
    """A difference of logarithms as a share: 0.2 is 20 % more."""
    return exp(min(logarithm, 50.0)) - 1

"""What is said of an attempt that ended for a reason of our own. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind

if TYPE_CHECKING:
    from job_contracts.attempts import Timeouts

__all__ = ["redirected", "stopped_by_us"]

_WORDS = {
    FailureKind.FIRST_TOKEN_TIMEOUT: "no first token within {seconds:g} s",
    FailureKind.STALLED: "nothing came for {seconds:g} s in the middle of the answer",
    FailureKind.TOTAL_TIMEOUT: "the answer was not complete within {seconds:g} s",
    FailureKind.EXPIRED: "the job's deadline passed during the attempt",
    FailureKind.CANCELLED: "cancelled during the attempt",
    FailureKind.HANDED_BACK: "the worker was stopped during the attempt",
}
_BEFORE = {
    FailureKind.EXPIRED: "the job's deadline had passed before the provider was asked",
    FailureKind.GRANT_EXPIRED: "the grant was too old to be used",
    FailureKind.CANCELLED: "cancelled before the attempt",
    FailureKind.HANDED_BACK: "the worker was stopped before the attempt",
}


def stopped_by_us(kind: FailureKind, timeouts: Timeouts, *, called: bool, outrun: bool = False) -> Failure:
    """The failure: with the seconds that were waited, or what came before the provider was called."""
    if outrun and kind is FailureKind.HANDED_BACK:
        return Failure(kind=kind, message="another attempt of the job was faster")
    seconds = {
        FailureKind.FIRST_TOKEN_TIMEOUT: timeouts.first_token,
        FailureKind.STALLED: timeouts.stall,
        FailureKind.TOTAL_TIMEOUT: timeouts.total,
    }.get(kind, 0.0)
    words = (_WORDS if called else _BEFORE).get(kind, kind.value)
    return Failure(kind=kind, message=words.format(seconds=seconds))


def redirected(status: int) -> Failure:
    """The failure of a call that was answered with another address."""
    words = f"the provider answered with a redirect ({status}), which is never followed"
    remedy = "correct the provider's base_url"
    return Failure(kind=FailureKind.MALFORMED_RESPONSE, message=words, remedy=remedy, status=status)

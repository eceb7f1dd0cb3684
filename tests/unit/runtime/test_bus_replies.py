"""Every answer of the broker has one name."""

from __future__ import annotations

import pytest

from runtime.bus.port import (
    Ack,
    AlreadyStored,
    BusError,
    NotFound,
    OutcomeUnknown,
    Refused,
    StreamFull,
    TooLarge,
    Undecided,
    WrongSequence,
)
from runtime.bus.replies import ack, api


def refused(code: int, description: str) -> BusError:
    data = f'{{"error":{{"code":400,"err_code":{code},"description":"{description}"}},"stream":"S","seq":0}}'
    with pytest.raises(BusError) as raised:
        ack(data.encode(), "a.subject")
    return raised.value


def test_an_acknowledgement_says_where_the_message_lies() -> None:
    assert ack(b'{"stream":"S","seq":7}', "a") == Ack("S", 7, 1)
    assert ack(b'{"stream":"S","seq":9,"batch":"b","count":3}', "a") == Ack("S", 9, 3)
    assert ack(b'{"stream":"S","seq":7,"domain":"d","duplicate":true}', "a") == Ack("S", 7, 1)


@pytest.mark.parametrize(
    ("code", "description", "kind"),
    [
        (10071, "wrong last sequence: 12", WrongSequence),
        (10164, "wrong last sequence", Undecided),
        (10077, "maximum messages per subject exceeded", AlreadyStored),
        (10077, "maximum messages exceeded", StreamFull),
        (10077, "maximum bytes exceeded", StreamFull),
        (10047, "insufficient storage resources available", StreamFull),
        (10167, "too many requests", StreamFull),
        (10054, "message size exceeds maximum allowed", TooLarge),
        (10008, "JetStream system temporarily unavailable", OutcomeUnknown),
        (10166, "per-message TTL is disabled", Refused),
        (10176, "atomic publish batch is incomplete", Refused),
        (10059, "stream not found", NotFound),
        (10037, "no message found", NotFound),
    ],
)
def test_a_refusal_is_named_by_its_code(code: int, description: str, kind: type[BusError]) -> None:
    error = refused(code, description)
    assert type(error) is kind
    assert error.code == code
    assert description in str(error)
    assert "a.subject" in str(error)


def test_a_wrong_sequence_names_the_present_one() -> None:
    error = refused(10071, "wrong last sequence: 12")
    assert isinstance(error, WrongSequence)
    assert error.last_seq == 12


def test_a_store_that_failed_for_another_reason_is_no_refusal() -> None:
    error = refused(10077, "raft: something broke")
    assert type(error) is BusError


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b"{}", b'{"stream":"S"}', b"null"])
def test_an_answer_that_cannot_be_read_is_an_error_of_its_own(data: bytes) -> None:
    with pytest.raises(BusError):
        ack(data, "a")


def test_an_api_answer_is_the_object_itself() -> None:
    assert api(b'{"success":true}', "a") == {"success": True}
    with pytest.raises(NotFound):
        api(b'{"error":{"code":404,"err_code":10014,"description":"consumer not found"}}', "a")

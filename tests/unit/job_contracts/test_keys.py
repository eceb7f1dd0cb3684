"""How a key is written, and when its record lets nobody in any more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.codec import ContractError, decode, encode
from job_contracts.keys import PREFIX, KeyRecord, Scope, key_id, mistyped, written
from producer_sdk.connecting import project_of
from producer_sdk.errors import InvalidRequest

SECRET = "0123456789abcdef" * 4
projects = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
RECORD = KeyRecord(id="0123456789ab", project="demo", hash="0" * 64, created=100.0)


@given(projects)
def test_a_key_names_its_project_and_its_id(project: str) -> None:
    key = written(project, SECRET)
    assert project_of(key, None) == project
    assert key_id(key) == "0123456789ab"
    assert not mistyped(key)


@given(projects, st.data())
def test_one_wrong_character_anywhere_in_a_key_is_noticed(project: str, data: st.DataObject) -> None:
    key = written(project, SECRET)
    place = data.draw(st.integers(len("psk_"), len(key) - 1))
    other = data.draw(st.sampled_from([one for one in "0123456789abcdef" if one != key[place]]))
    wrong = key[:place] + other + key[place + 1 :]
    assert mistyped(wrong)
    with pytest.raises(InvalidRequest, match="copied whole"):
        project_of(wrong, None)


@pytest.mark.parametrize("project", ["a", "a_b", "_"])
def test_a_wrong_character_between_project_and_secret_is_noticed(project: str) -> None:
    key = written(project, SECRET)
    before = len(PREFIX) + len(project)
    wrong = f"{key[:before]}0{key[before + 1 :]}"
    assert mistyped(wrong)
    with pytest.raises(InvalidRequest, match="copied whole"):
        project_of(wrong, None)


@pytest.mark.parametrize("key", [f"psk_demo_{SECRET}", "psk_demo_abc", "psk_demo_", "", "nonsense"])
def test_a_key_without_a_checksum_is_not_judged(key: str) -> None:
    assert not mistyped(key)


def test_a_record_ends_by_the_clock_or_by_being_revoked() -> None:
    assert RECORD.ended(0.0) is None
    assert RECORD.model_copy(update={"until": 200.0}).ended(199.9) is None
    assert RECORD.model_copy(update={"until": 200.0}).ended(200.0) == "replaced"
    assert RECORD.model_copy(update={"scope": Scope(expires=150.0)}).ended(150.0) == "expired"
    revoked = RECORD.model_copy(update={"revoked": 300.0})
    assert revoked.ended(0.0) == "revoked", "whatever the clock says"
    assert revoked.model_copy(update={"until": 200.0}).end == 200.0


def test_a_bound_that_is_unknown_here_is_not_passed_over() -> None:
    newer = json.dumps({**json.loads(encode(RECORD)), "scope": {"weekdays": True}})
    with pytest.raises(ContractError, match=r"scope\.weekdays"):
        decode(KeyRecord, newer)


def test_a_field_beside_the_bounds_that_is_unknown_here_is_passed_over() -> None:
    assert decode(KeyRecord, encode(RECORD)[:-1] + b',"owner":"ann"}') == RECORD

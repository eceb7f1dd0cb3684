"""Every subject has the form its stream expects, whatever a project, a pool or a job is called."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts import subjects
from job_contracts.codec import ContractError
from tests.support.strategies_plain import job_ids, tokens

ANYTHING = st.text(max_size=20) | st.sampled_from(
    [
        "",
        ".",
        "*",
        ">",
        "a.b",
        "a *",
        "a\n",
        "a\r\nPUB x 1",
        "\0",
        "a-b\n",
        "a-b.>",
        "-",
        "-a",
        "a--b",
        "é-b",
        "١-b",
        "key-",
    ]
)
"""Names people could try, broken ones among them."""
PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def is_accepted(check: Callable[[], str], field: str) -> bool:
    """Whether a name passes; one that does not must be refused by its field and with a remedy."""
    try:
        check()
    except ContractError as error:
        return not (error.field == field and error.remedy)
    return True


@given(ANYTHING)
def test_no_accepted_name_can_change_the_form_of_a_subject(name: str) -> None:
    if not is_accepted(lambda: subjects.check_token(name, "project"), "project"):
        return
    assert PLAIN.fullmatch(name)
    assert len(subjects.submit(name, "a-b").split(".")) == 6


@given(ANYTHING | job_ids)
def test_no_accepted_job_id_can_change_the_form_of_a_subject(name: str) -> None:
    if not is_accepted(lambda: subjects.check_job_id(name), "job"):
        return
    *rest, stem, leaf = subjects.submit("p", name).split(".")
    assert rest == ["penstock", "v1", "submit", "p"]
    assert (PLAIN.fullmatch(stem) and PLAIN.fullmatch(leaf)) is not None
    assert f"{stem}-{leaf}" == name


@given(tokens, job_ids, tokens)
def test_project_and_job_are_read_back_from_every_stored_subject(project: str, job: str, pool: str) -> None:
    for subject in (
        subjects.queued(0, project, job),
        subjects.work(0, pool, project, job),
        subjects.result(project, job),
        subjects.outcome(0, project, job),
        subjects.tokens(project, job),
        subjects.cancel(project, job),
        subjects.dead(project, job),
        subjects.submit(project, job),
    ):
        assert subjects.project_and_job(subject) == (project, job)


@given(tokens, job_ids)
def test_one_subscription_hears_all_jobs_of_a_stem(project: str, job: str) -> None:
    stem, _, _ = job.partition("-")
    for heard in (subjects.live_result(project, job), subjects.live_job(project, job).replace("*", "tok")):
        assert heard.startswith(subjects.live(project, stem).removesuffix(">"))


@given(tokens, tokens, job_ids)
def test_no_project_is_spoken_to_under_anothers_name(one: str, other: str, job: str) -> None:
    """A producer's permissions are prefixes that end in a dot, so one project's name may begin another's."""
    for build in (subjects.submit, subjects.cancel):
        allowed = build(one, job).rsplit(".", 2)[0] + "."
        assert build(other, job).startswith(allowed) == (one == other)


def test_a_message_that_names_no_job_is_set_aside_where_no_project_can_be() -> None:
    token = subjects.unreadable("SUBMIT_0", 7).split(".")[2]
    with pytest.raises(ContractError):
        subjects.check_token(token, "project")


@given(st.text(min_size=1, max_size=40))
def test_an_idempotency_key_always_gives_the_same_valid_id(key: str) -> None:
    job = subjects.keyed_job_id(key)
    assert subjects.check_job_id(job) == subjects.keyed_job_id(key)
    assert job.partition("-")[0] == subjects.KEYED_STEM


def test_keyed_ids_are_the_same_in_every_release() -> None:
    assert subjects.keyed_job_id("order 17") == "key-0bcc920e3938c1b86e3483fc9888c6d6"


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_keys_name_two_jobs(one: str, other: str) -> None:
    assert (subjects.keyed_job_id(one) == subjects.keyed_job_id(other)) == (one == other)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(ContractError, match="UTF-8") as refused:
        subjects.keyed_job_id("\ud800")
    assert refused.value.field == "idempotency_key"


def test_everything_a_producer_may_name_lies_below_one_public_prefix() -> None:
    public = [
        subjects.submit("p", "a-b"),
        subjects.cancel("p", "a-b"),
        subjects.blob("p", "a-b", 0),
        subjects.api("p", "hello"),
        subjects.live("p", "a"),
    ]
    assert all(subject.startswith(f"{subjects.PUBLIC}.") and subject.split(".")[3] == "p" for subject in public)
    internal = [
        subjects.work(0, "x", "p", "a-b"),
        subjects.lease(0),
        subjects.result("p", "a-b"),
        subjects.usage("x", "w"),
    ]
    assert not any(subject.startswith(f"{subjects.PUBLIC}.") for subject in internal)


@pytest.mark.parametrize(
    ("job", "once"),
    [("0123456789abcdef-fedcba9876543210", True), ("key-0123456789abcdef0123456789abcdef", False), ("a-1", False)],
)
def test_only_an_id_of_the_random_form_names_one_submission(job: str, once: bool) -> None:
    assert subjects.names_one_submission(job) is once

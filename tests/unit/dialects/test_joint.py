"""The joint of two attempts' text: a repetition once, nothing else lost, however the text is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.dialects.joint import GLUED, LONG, Joint, joined

FOX = "The quick brown fox jumps over the lazy dog"
WORDS = st.sampled_from(("the", "sea", "is", "wide", "Möwe", "fly", "0", "ha", "海は広い", "|", "-", "a", "over it"))
BLANKS = st.sampled_from((" ", "\n", "\n\n", "  ", ""))
TEXT = st.lists(st.tuples(WORDS, BLANKS), max_size=12).map(lambda pairs: "".join(a + b for a, b in pairs))


def in_pieces(sent: str, said: str, cuts: list[int], *, echoes: bool = False) -> str:
    """Text as it comes out where ``said`` is cut at these places."""
    joint = Joint(sent, echoes=echoes)
    places = sorted({0, *(min(cut, len(said)) for cut in cuts), len(said)})
    return sent + "".join(joint.take(said[a:b]) for a, b in pairwise(places)) + joint.end()


@pytest.mark.parametrize(
    ("sent", "said", "whole"),
    [
        ("The sea", " is wide.", "The sea is wide."),
        ("The sea ", "is wide.", "The sea is wide."),
        ("The sea ", " is wide.", "The sea is wide."),
        ("The se", "a is wide.", "The sea is wide."),
        ("One.\n\n", "\n\nTwo.", "One.\n\nTwo."),
        ("One.\n", "\n\nTwo.", "One.\n\nTwo."),
        ("One.\n\n", "\nTwo.", "One.\n\nTwo."),
        ("One. ", "\n- Two.", "One. \n- Two."),
        (FOX, f"{FOX}, and runs.", f"{FOX}, and runs."),
        (FOX, "jumps over the lazy dog, and runs.", f"{FOX}, and runs."),
        (FOX, " jumps over the lazy dog, and runs.", f"{FOX}, and runs."),
        (FOX + " ", "jumps over the lazy dog and runs.", f"{FOX} and runs."),
        ("The quick brown fox", "brown fox jumps", "The quick brown fox jumps"),
        ("The quick brown fo", "quick brown fox jumps", "The quick brown fox jumps"),
        ("Hello there", "Hello there, friend", "Hello there, friend"),
    ],
)
def test_the_joint_says_a_repetition_and_its_blanks_once(sent: str, said: str, whole: str) -> None:
    assert joined(sent, said) == whole


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("Round and round", " and round it goes."),
        ("ha", "ha"),
        ("It is a very", " very good idea."),
        ("0, 0, 0, 0, 0, 0, 0, 0, ", "0, 0, 0, 0, 0, 0, 0, 0"),
        ("row your boat, row your boat", ", row your boat, row your boat"),
        ("the sea is wide. the sea is wide. the sea is wide.", " the sea is wide."),
        ("-" * 32, "-" * 32),
        ("1, 1", "1, 111"),
        ("| a | b |\n| c | d |\n| a | b |", "\n| a | b |"),
        ("cous", "cous with lamb"),
        ("to be or", " be or not"),
    ],
)
def test_words_that_an_answer_may_mean_twice_are_said_twice(sent: str, said: str) -> None:
    assert joined(sent, said).replace(" ", "") == (sent + said).replace(" ", "")


def test_a_target_that_echoes_may_do_so_with_a_single_word() -> None:
    assert joined("I", "I think so.", echoes=True) == "I think so."
    assert joined("I", "In truth.", echoes=False) == "IIn truth."
    assert joined("I", " think so.", echoes=True) == "I think so."


def test_an_echo_is_recognised_however_long_it_is() -> None:
    sent = " ".join(f"word{number}x is number {number}" for number in range(500))
    assert joined(sent, sent + " and on.") == sent + " and on."


def test_what_cannot_become_a_repetition_is_not_held_back() -> None:
    joint = Joint(FOX)
    assert joint.take(" jumps") == ""
    assert joint.take(" high") == " jumps high"
    assert joint.take("er") == "er"


@given(TEXT, TEXT, st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_how_the_text_is_cut_makes_no_difference(sent: str, said: str, cuts: list[int], echoes: bool) -> None:
    assert in_pieces(sent, said, cuts, echoes=echoes) == joined(sent, said, echoes=echoes)


@given(TEXT, TEXT)
def test_only_the_very_end_of_what_was_sent_is_ever_left_out(sent: str, said: str) -> None:
    rest = joined(sent, said)[len(sent) :]
    assert joined(sent, said).startswith(sent)
    assert said.endswith(rest)
    gone = said[: len(said) - len(rest)].strip()
    assert not gone or (sent.rstrip().endswith(gone) and len(gone) >= min(LONG, GLUED))


@given(TEXT, TEXT)
def test_where_the_ends_have_nothing_in_common_nothing_but_blanks_is_left_out(sent: str, said: str) -> None:
    words, body = said.strip(), sent.rstrip()
    if any(body.endswith(words[:length]) for length in range(1, len(words) + 1)):
        return
    assert joined(sent, said).split() == (sent + ("" if not sent[len(body) :] else " ") + said).split()


@given(TEXT, st.integers(0, 200))
def test_a_text_that_is_gone_on_with_at_any_point_is_the_text(text: str, cut: int) -> None:
    sent = text[:cut]
    rest = text[len(sent.rstrip()) :]
    found = joined(sent, rest)
    if found != text:  # only where it says the same twice in a row
        gone = len(text) - len(found)
        assert gone >= GLUED
        assert sent.rstrip().endswith(rest.strip()[:gone].strip()[:GLUED]) or rest.strip()[:GLUED] in sent

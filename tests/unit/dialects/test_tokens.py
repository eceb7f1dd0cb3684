from __future__ import annotations

import pytest
from hypothesis import given

from job_contracts.chat import Conversation
from tests.support import strategies_chat
from workers.dialects import tokens


def estimate(content: object, **more: object) -> int:
    values = {"messages": [{"role": "user", "content": content}], **more}
    return tokens.estimate(Conversation.model_validate(values))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        # counted with the vocabulary o200k
        ("The quick brown fox jumps over the lazy dog. " * 20, 201),
        ("Die Würde des Menschen ist unantastbar. Sie zu achten ist Verpflichtung aller staatlichen Gewalt.", 22),
        ("人人生而自由，在尊严和权利上一律平等。", 15),
        ("すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。", 35),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", 24),
        ("Все люди рождаются свободными и равными в своем достоинстве и правах.", 17),
        ("يولد جميع الناس أحراراً متساوين في الكرامة والحقوق.", 18),
        ("सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।", 25),
        ('{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}', 28),
        ("👋🎉😀🚀", 7),
    ],
)
def test_a_text_is_estimated_within_a_third(text: str, count: int) -> None:
    assert 0.67 * count <= tokens.of_text(text) <= 1.5 * count


def test_everything_a_model_reads_counts() -> None:
    plain = estimate("hello")
    assert 6 <= plain <= 12
    assert estimate("hello", tools=[{"name": "f", "parameters": {"type": "object"}}]) > plain
    form = {"type": "json_schema", "json_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    assert estimate("hello", settings={"response_format": form}) > plain
    image = [{"type": "text", "text": "hello"}, {"type": "image", "url": "https://example.com/a.png"}]
    assert estimate(image) >= plain + 500
    small = [image[0], {**image[1], "detail": "low"}]
    assert plain < estimate(small) < estimate(image)


def test_an_answer_is_at_least_a_token_for_four_characters() -> None:
    assert [tokens.of_characters(count) for count in (0, 1, 4, 5)] == [0, 1, 1, 2]


@given(strategies_chat.conversations())
def test_the_pieces_of_a_conversation_are_its_whole_text_and_none_is_long(conversation: Conversation) -> None:
    found = list(tokens.pieces(conversation))
    assert all(len(piece) <= tokens.PIECE for _, piece in found if isinstance(piece, str))
    assert {place for place, _ in found} == set(range(-1, len(conversation.messages)))
    weighed = sum(tokens.of_text(piece) if isinstance(piece, str) else piece for _, piece in found)
    assert weighed == pytest.approx(tokens.estimate(conversation), abs=1)


def test_a_long_text_is_handed_out_in_runs_that_make_the_whole() -> None:
    text = "".join(chr(0x4E00 + n % 5_000) for n in range(50_000))
    conversation = Conversation.model_validate({"messages": [{"role": "user", "content": text}]})
    runs = [piece for place, piece in tokens.pieces(conversation) if place == 0 and isinstance(piece, str)]
    assert len(runs) == 4
    assert "".join(runs) == text

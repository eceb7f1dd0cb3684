"""Whatever is given out validates, and repairing leaves alone what needs no repair."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.schemas_and_values import answers, fitting, pieces, schemas
from workers.answers.judging import Unusable, Verdict, compiled, judge
from workers.answers.sieve import Sieve

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
    "required": ["name"],
    "additionalProperties": False,
}
GOOD = '{"name": "Ada", "age": 36}'


def judged(text: str, schema: dict[str, Any] = PERSON, *, repair: bool = True, nulls: bool = True) -> Verdict:
    return judge(compiled(schema), text, repair=repair, nulls=nulls)


@given(answers(), st.booleans(), st.booleans())
def test_whatever_is_given_out_validates(told: tuple[dict[str, Any], str], repair: bool, nulls: bool) -> None:
    schema, text = told
    verdict = judge(compiled(schema), text, repair=repair, nulls=nulls)
    assert (verdict.text is None) == bool(verdict.complaint)
    if verdict.text is not None:
        jsonschema_rs.validate(schema, json.loads(verdict.text))
        assert bool(verdict.repairs) == (verdict.text != text)
    if not repair and not nulls:
        assert verdict.text in (None, text)


@given(st.data())
def test_what_is_valid_is_given_out_as_it_is(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    value = data.draw(fitting(schema))
    text = json.dumps(value, indent=data.draw(st.sampled_from([None, 1])))
    if jsonschema_rs.is_valid(schema, value):
        space = data.draw(st.text(alphabet=" \n\t", max_size=3))
        assert judge(compiled(schema), space + text + space, repair=True, nulls=True) == Verdict(space + text + space)


@given(st.data())
def test_a_text_in_pieces_is_sifted_as_the_whole_is_and_nothing_shown_is_taken_back(data: st.DataObject) -> None:
    schema, text = data.draw(answers())
    whole, streamed = Sieve(), Sieve()
    kept = whole.feed(text) + whole.end()
    shown = [streamed.feed(piece) for piece in data.draw(pieces(text))]
    assert "".join(shown) + streamed.end() == kept
    verdict = judge(compiled(schema), text, repair=True, nulls=False)
    if verdict.text is not None and whole.whole:
        assert verdict.text.startswith("".join(shown)) or verdict.text == text


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (f"```json\n{GOOD}\n```", GOOD),
        (f"```\n{GOOD}```", GOOD),
        (f"Here is the person you asked for:\n\n{GOOD}\n\nIs there anything else?", GOOD),
        ('{"name": "Ada", "age": 36,}', GOOD),
        ('{"name": "Ada", "tags": [1, 2 ,\n], }', '{"name": "Ada", "tags": [1, 2 \n] }'),
        ('{"name": "Ada", "age": null}', '{"name": "Ada"}'),
        ('Sure! {"name": "a,} {\\"b", "age": 1,}', '{"name": "a,} {\\"b", "age": 1}'),
    ],
)
def test_what_needs_nothing_made_up_is_repaired_and_said(text: str, repaired: str) -> None:
    verdict = judged(text)
    assert verdict.text == repaired
    assert verdict.repairs
    assert judged(text, repair=False, nulls=False).text is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ada",
        '{"name": "Ada", "age": 36',
        '{"name": "Ada"',
        '[{"name": "Ada"}',
        '{"people": [{"name": "Ada"}, {"name": "Bob"}',
        '{"x": "}", "y": {"name": "Ada"}',
        f"{GOOD}\n{GOOD}",
        f"{GOOD}}}",
        f"<think>{{}}</think>{GOOD}",
        f"As said in [1]: {GOOD}",
        "{'name': 'Ada'}",
        '{"name": "Ada" "age": 36}',
        '{name: "Ada"}',
        '{"name": "Ada", "name": "Bob"}',
        '{"name": "Ada", "age": NaN}',
        '{"name": "Ada", "age": 1e999}',
        '{"name": "Ada", "age": "36"}',
        '{"name": null}',
        '{"name": "Ada", "more": null}',
        '{"name": "\\ud800"}',
        "[" * 100_000,
        '{"name":' * 5_000,
    ],
)
def test_what_would_have_to_be_guessed_is_not_repaired(text: str) -> None:
    verdict = judged(text)
    assert verdict.text is None
    assert verdict.complaint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "Ada", "age": "secret"}', 'age: the value is not of type "integer"'),
        ('{"age": 1}', 'the root: "name" is a required property'),
        ("Ada", "the answer is no JSON: Expecting value (line 1, column 1)"),
        ("", "the answer has no text"),
    ],
)
def test_a_complaint_says_where_and_what_and_none_of_the_values(text: str, words: str) -> None:
    assert judged(text).complaint == words


def test_a_place_deep_within_is_named_in_full_and_long_names_are_cut() -> None:
    schema = {"properties": {"a": {"items": {"additionalProperties": {"type": "string"}}}}}
    told = judged('{"a": [{}, {"%s": 1}]}' % ("x" * 5_000), schema).complaint
    assert told.startswith('a[1]["xxx')
    assert len(told) < 200


def test_optional_keys_within_alternatives_lose_their_nulls_and_required_ones_do_not() -> None:
    leaf = {"type": "object", "properties": {"k": {"type": "string"}, "o": {"type": "string"}}, "required": ["k"]}
    schema = {"type": "object", "properties": {"v": {"anyOf": [leaf, {"type": "integer"}]}}}
    assert judged('{"v": {"k": "x", "o": null}}', schema).text == '{"v": {"k": "x"}}'
    assert judged('{"v": {"k": null, "o": null}}', schema).text is None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/remote"},
        {"$ref": "file:///etc/passwd"},
        {"$id": "http://127.0.0.1:9/here", "$ref": "there"},
        {"$schema": "http://127.0.0.1:9/meta"},
        {"$ref": "#/nowhere"},
        {"type": "strin"},
        {"required": True},
        {"pattern": "("},
        {"pattern": "((a{1000}){1000}){1000}"},
    ],
)
def test_a_schema_that_is_none_or_leads_elsewhere_is_unusable(schema: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        compiled(schema)


def test_a_schema_nested_without_an_end_is_unusable() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"allOf": [schema]}
    with pytest.raises(Unusable):
        compiled(schema)


@pytest.mark.parametrize("pattern", ["^(a+)+$", r"^(a*)*\1$", "^(?=(a+)+$)b", "^(a|aa)+$"])
def test_a_pattern_that_tries_everything_comes_to_an_end(pattern: str) -> None:
    assert judged(json.dumps("a" * 50_000 + "!"), {"pattern": pattern}).text is None


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}])
def test_a_schema_that_names_nothing_but_itself_allows_everything_and_ends(schema: dict[str, Any]) -> None:
    assert judged(GOOD, schema).text == GOOD

"""The scenarios, one a line: what breaks, where it breaks, who asks in which way, and what must come of it.

``first`` and ``second`` are the dialects of the two deployments, ``-`` where there is only one. ``ends`` are the
attempts in order, each with how it may have ended (``|``) and at which of them; ``must`` is what the client gets: an
``answer`` that is whole, or an ``error`` that says what happened. Words behind that change one thing each:

    times=N after=N   how often the fault strikes, and how many calls it lets pass before
    warm=N            jobs that are answered there before this one
    deadline=S        seconds the job has
    both              the second deployment has the same fault
    same              the second deployment has the same model, and says the same
    gone              the second deployment is the successor that the catalogue names
    told              the last end is an answer's own end, which says that it is cut
    anything else     a setting of the route: max_attempts=2, broken_stream=hold, once_more=always, fit=trim
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

Dialect = Literal["openai", "anthropic", "gemini"]
Form = Literal["text", "tools", "json", "system", "thinking"]
Door = Literal["sdk", "chat", "messages"]
Must = Literal["answer", "error"]

TABLE = """
# fault            first     second    form     door     way    ends                                   must
500                openai    anthropic text     sdk      stream server_error@1,ok@2                    answer
500                anthropic gemini    tools    sdk      plain  server_error@1,ok@2                    answer
500                gemini    openai    json     chat     stream server_error@1,ok@2                    answer
500                openai    -         text     chat     plain  server_error@1,ok@1                    answer times=1
500                gemini    openai    text     sdk      plain  server_error@1,server_error@2          error  both max_attempts=2
500                openai    anthropic system   sdk      plain  server_error@1,ok@2                    answer
500                anthropic gemini    thinking sdk      plain  server_error@1,ok@2                    answer
500                gemini    anthropic thinking sdk      stream server_error@1,ok@2                    answer
503                gemini    anthropic tools    chat     plain  overloaded@1,ok@2                      answer
503@0.5            openai    -         json     sdk      stream overloaded@1,ok@1                      answer times=1
529                anthropic openai    text     messages stream overloaded@1,ok@2                      answer
429@1              openai    gemini    text     chat     plain  rate_limit@1,ok@2                      answer
429@60             anthropic openai    tools    messages plain  rate_limit@1,ok@2                      answer
429@0.5            openai    -         text     sdk      plain  rate_limit@1,ok@1                      answer times=1
429@0.5            gemini    openai    json     sdk      stream rate_limit@1,ok@1                      answer times=1 once_more=always
429@60             gemini    -         text     chat     plain  rate_limit@1                           error  deadline=5
auth               openai    anthropic json     chat     plain  auth@1,ok@2                            answer
auth               anthropic -         text     sdk      stream auth@1                                 error  deadline=5
permission         gemini    openai    text     sdk      stream permission@1,ok@2                      answer
quota              anthropic gemini    text     messages stream quota_exhausted@1,ok@2                 answer
model_gone         openai    gemini    tools    chat     stream model_not_found@1,ok@2                 answer
model_gone         anthropic anthropic text     sdk      plain  model_not_found@1,ok@2                 answer gone
model_gone         gemini    gemini    json     sdk      stream model_not_found@1,ok@2                 answer gone
context            gemini    anthropic text     sdk      plain  context_overflow@1,ok@2                answer
context            openai    -         text     messages plain  context_overflow@1                     error
bad_request        anthropic openai    tools    sdk      plain  bad_request@1                          error
bad_request        gemini    openai    text     chat     stream bad_request@1                          error
prompt_blocked     openai    anthropic text     chat     plain  content_policy@1                       error
prompt_blocked     gemini    openai    text     sdk      stream content_policy@1                       error
content_filter     openai    anthropic text     chat     stream ok@1                                   error  told
content_filter     anthropic gemini    text     sdk      plain  ok@1                                   error  told
refused            openai    anthropic text     sdk      stream connect@1,ok@2                         answer
refused            anthropic gemini    json     chat     plain  connect@1,ok@2                         answer
refused            gemini    -         tools    sdk      plain  connect@1,connect@1                    error  max_attempts=2
reset              openai    gemini    tools    sdk      stream reset@1,ok@2                           answer
reset              anthropic openai    json     sdk      plain  reset@1,ok@2                           answer
reset              gemini    anthropic text     messages plain  reset@1,ok@2                           answer
reset              openai    -         text     chat     stream reset@1,ok@1                           answer times=1 after=3 warm=3
reset              anthropic openai    text     sdk      stream reset@1,ok@1                           answer times=1 after=3 warm=3 once_more=always
reset              gemini    openai    tools    sdk      plain  reset@1,reset@1,ok@2                   answer after=3 warm=3 once_more=always
hang               openai    anthropic text     chat     stream first_token_timeout@1,ok@2             answer
hang               anthropic gemini    tools    sdk      plain  total_timeout@1,ok@2                   answer
hang               gemini    openai    json     sdk      stream first_token_timeout@1,ok@2             answer
hang               openai    gemini    text     messages plain  total_timeout@1,total_timeout@2        error  both max_attempts=2
hang               gemini    anthropic text     sdk      stream first_token_timeout@1,first_token_timeout@2 error both max_attempts=2
slow@30            openai    gemini    json     sdk      stream first_token_timeout@1,ok@2             answer
slow@30            anthropic openai    text     messages stream first_token_timeout@1,ok@2             answer
stall              openai    anthropic text     sdk      stream stalled@1,ok@2                         answer
stall              anthropic openai    tools    messages stream stalled@1,ok@2                         answer broken_stream=hold
stall              gemini    openai    json     chat     plain  stalled@1,ok@2                         answer
cut                openai    anthropic tools    sdk      stream stream_truncated@1,ok@2                answer
cut                anthropic gemini    text     sdk      plain  stream_truncated@1,ok@2                answer
cut                gemini    openai    json     sdk      stream stream_truncated@1,ok@2                answer
cut                openai    openai    text     chat     stream stream_truncated@1,ok@2                answer same
cut                openai    gemini    tools    chat     stream stream_truncated@1,cancelled|ok@2      error  broken_stream=error
cut                anthropic gemini    json     chat     stream stream_truncated@1,ok@2                answer broken_stream=hold
cut                anthropic openai    text     messages stream stream_truncated@1,cancelled|ok@2      error  broken_stream=error
cut                gemini    openai    text     sdk      stream stream_truncated@1,stream_truncated@2  error  both max_attempts=2
reset_within       openai    gemini    text     sdk      stream reset@1,ok@2                           answer
reset_within       anthropic openai    tools    chat     plain  reset@1,ok@2                           answer
error_within       anthropic openai    text     sdk      stream overloaded@1,ok@2                      answer
error_within       openai    anthropic json     sdk      plain  overloaded@1,ok@2                      answer
malformed_chunk    openai    anthropic tools    sdk      stream malformed_response|stream_truncated@1,ok@2 answer
malformed_chunk    gemini    openai    text     chat     plain  malformed_response|stream_truncated@1,ok@2 answer
bad_framing        anthropic gemini    text     sdk      stream malformed_response|stream_truncated@1,ok@2 answer
no_terminator      openai    anthropic text     sdk      stream stream_truncated@1,ok@2                answer
no_terminator      anthropic gemini    json     sdk      plain  stream_truncated@1,ok@2                answer
no_terminator      gemini    openai    tools    chat     stream stream_truncated@1,ok@2                answer broken_stream=hold
empty_body         openai    gemini    text     chat     plain  malformed_response@1,ok@2              answer
empty_body         gemini    anthropic tools    sdk      stream malformed_response@1,ok@2              answer
html@502           anthropic openai    json     sdk      plain  server_error@1,ok@2                    answer
html@200           gemini    openai    text     messages plain  malformed_response@1,ok@2              answer
gigantic_line@3    openai    anthropic text     sdk      plain  response_too_large@1,ok@2              answer
gigantic_line@3    anthropic gemini    text     chat     stream response_too_large@1,ok@2              answer broken_stream=hold
wrong_content_type gemini    openai    tools    chat     stream ok@1                                   answer
"""  # noqa: E501 - a table

COUNTS = frozenset({"times", "after", "warm", "deadline"})
FLAGS = frozenset({"both", "same", "gone", "told"})


@dataclass(frozen=True)
class Row:
    """One line of the table. ``first`` and ``second`` are the places that ``ends`` names by 1 and 2."""

    number: int
    fault: str
    first: Dialect
    second: Dialect | None
    form: Form
    door: Door
    streamed: bool
    ends: tuple[tuple[frozenset[str], int], ...]
    must: Must
    counts: dict[str, int] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    route: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        way = "streamed" if self.streamed else "whole"
        return f"{self.fault}: {self.first} > {self.second or 'nobody'}, {self.form} {way} by {self.door}"

    @property
    def name(self) -> str:
        """Of its route, its provider and its pool."""
        return f"r{self.number}"


def read(line: str, number: int) -> Row:
    """A line of the table."""
    fault, first, second, form, door, way, ends, must, *further = line.split()
    for word, known in ((first, Dialect), (form, Form), (door, Door), (must, Must)):
        assert word in get_args(known), f"{word!r} in {line!r}"
    words = dict(word.partition("=")[::2] for word in further)
    settings = {name: value for name, value in words.items() if name not in COUNTS | FLAGS}
    return Row(
        number,
        fault,
        cast("Dialect", first),
        None if second == "-" else cast("Dialect", second),
        cast("Form", form),
        cast("Door", door),
        way == "stream",
        tuple((frozenset(kinds.split("|")), int(place)) for kinds, _, place in _parted(ends)),
        cast("Must", must),
        {name: int(words[name]) for name in COUNTS & words.keys()},
        frozenset(FLAGS & words.keys()),
        {name: _setting(name, value) for name, value in settings.items()},
    )


def _parted(ends: str) -> list[tuple[str, str, str]]:
    return [end.partition("@") for end in ends.split(",")]


def _setting(name: str, value: str) -> Any:
    if name == "once_more":
        return {"when": value}
    return int(value) if value.isdecimal() else value


ROWS = tuple(
    read(line, number)
    for number, line in enumerate(each for each in TABLE.splitlines() if each and not each.startswith("#"))
)

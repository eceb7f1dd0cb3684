"""Any conversation, for property tests: turns, tools, settings, files and cache marks, and what answers them."""

from __future__ import annotations

from hypothesis import strategies as st

from job_contracts import chat
from tests.support.strategies_plain import counts, json_objects, maybe, names, some, tokens, words

texts = st.builds(chat.TextPart, text=words)
images = st.builds(chat.ImagePart, url=words) | st.builds(
    chat.ImagePart,
    data=st.just("aGk="),
    media_type=st.sampled_from(["image/png", "image/jpeg"]),
    detail=st.sampled_from([None, "auto", "low", "high"]),
)
reasonings = st.builds(
    chat.ReasoningPart, text=words, signature=maybe(words), redacted=maybe(words), origin=maybe(tokens)
)
tool_calls = st.builds(
    chat.ToolCallPart, id=words, name=names, arguments=words, signature=maybe(words), origin=maybe(tokens)
)
refusals = st.builds(chat.RefusalPart, text=words)
user_content = words | some(texts | images)
assistant_content = words | some(texts | reasonings | tool_calls | refusals)
system_turns = st.builds(chat.SystemTurn, role=st.sampled_from(["system", "developer"]), content=words | some(texts))
user_turns = st.builds(chat.UserTurn, role=st.just("user"), content=user_content, name=maybe(words))
assistant_turns = st.builds(chat.AssistantTurn, role=st.just("assistant"), content=assistant_content)
tool_turns = st.builds(
    chat.ToolTurn,
    role=st.just("tool"),
    tool_call_id=words,
    content=user_content,
    name=maybe(words),
    is_error=st.booleans(),
)
turns = system_turns | user_turns | assistant_turns | tool_turns
tools = st.builds(
    chat.Tool, name=names, description=maybe(words), parameters=maybe(json_objects), strict=maybe(st.booleans())
)
response_formats = st.one_of(
    st.builds(chat.TextFormat),
    st.builds(chat.JsonFormat),
    st.builds(
        chat.JsonSchemaFormat,
        name=names,
        description=maybe(words),
        json_schema=json_objects,
        strict=maybe(st.booleans()),
    ),
)
settings = st.builds(
    chat.Settings,
    max_tokens=maybe(st.integers(1, 10**6)),
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0.01, 1)),
    stop=some(words),
    seed=maybe(st.integers(-(2**63), 2**63)),
    presence_penalty=maybe(st.floats(-2, 2)),
    frequency_penalty=maybe(st.floats(-2, 2)),
    response_format=maybe(response_formats),
    tool_choice=st.sampled_from([None, "auto", "none"]),
    parallel_tool_calls=maybe(st.booleans()),
    reasoning_effort=st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    logprobs=maybe(st.booleans()),
    top_logprobs=maybe(st.integers(0, 20)),
)


@st.composite
def conversations(draw: st.DrawFn) -> chat.Conversation:
    """Any turns, tools with names of their own, and settings that may force one of them."""
    offered = draw(st.lists(tools, max_size=3, unique_by=lambda tool: tool.name))
    chosen = draw(settings)
    forcing: bool = draw(st.booleans())
    if offered and forcing:
        forced = st.just("required") | st.builds(chat.NamedTool, name=st.sampled_from([t.name for t in offered]))
        chosen = chosen.model_copy(update={"tool_choice": draw(forced)})
    return chat.Conversation(messages=draw(some(turns, least=1)), tools=tuple(offered), settings=chosen)


# -- the conversation with what contracts have had since 1.2

cache_marks = st.sampled_from([None, None, "5m", "1h"])
addresses = st.sampled_from(
    ["https://example.com/a.pdf", "https://example.com/b", "gs://bucket/c.mp3", "data:text/plain;base64,aGk="]
)
media_types = st.sampled_from(
    [
        *("application/pdf", "text/plain", "text/csv", "application/json", "audio/wav", "video/mp4", "image/png"),
        *("image/bmp", "application/zip"),
    ]
)
marked_texts = st.builds(chat.TextPart, text=words, cache=cache_marks)
marked_images = st.builds(
    chat.ImagePart,
    data=st.just("aGk="),
    media_type=st.sampled_from(["image/png", "image/jpg", "image/gif", "image/tiff"]),
    cache=cache_marks,
)
files = st.builds(
    chat.FilePart,
    data=st.sampled_from(["aGk=", "/w=="]),
    media_type=media_types,
    name=maybe(words),
    cache=cache_marks,
) | st.builds(chat.FilePart, url=addresses, media_type=media_types, cache=cache_marks)
marked_content = some(marked_texts | marked_images | files)
marked_turns = st.one_of(
    st.builds(chat.SystemTurn, role=st.just("system"), content=some(marked_texts)),
    st.builds(chat.UserTurn, role=st.just("user"), content=marked_content),
    st.builds(
        chat.AssistantTurn,
        role=st.just("assistant"),
        content=some(marked_texts | reasonings | st.builds(chat.ToolCallPart, id=st.sampled_from("abc"), name=names)),
    ),
    st.builds(chat.ToolTurn, role=st.just("tool"), tool_call_id=st.sampled_from("abc"), content=words | marked_content),
)


@st.composite
def marked_conversations(draw: st.DrawFn) -> chat.Conversation:
    """Conversations with files, cache marks, top_k and thinking budgets, whose calls and results seldom fit."""
    offered = draw(st.lists(tools, max_size=3, unique_by=lambda tool: tool.name))
    marked = [tool.model_copy(update={"cache": draw(cache_marks)}) for tool in offered]
    wanted = {"top_k": draw(maybe(st.integers(1, 100))), "reasoning_budget": draw(maybe(st.integers(1, 100_000)))}
    return chat.Conversation(
        messages=draw(some(marked_turns, least=1, most=5)),
        tools=tuple(marked),
        settings=draw(settings).model_copy(update=wanted),
    )


usages = st.builds(
    chat.Usage,
    input=counts,
    output=counts,
    cache_read=counts,
    cache_write=counts,
    reasoning=counts,
    reported=st.booleans(),
)
logprobs = st.builds(
    chat.TokenLogprob, token=words, logprob=st.floats(-100, 0), top=some(st.tuples(words, st.floats(-100, 0)))
)
answers = st.builds(
    chat.Answer, parts=some(texts | reasonings | tool_calls | refusals), logprobs=some(logprobs, most=2)
)

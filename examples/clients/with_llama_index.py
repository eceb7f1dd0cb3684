"""LlamaIndex, by its class for servers that speak OpenAI's API."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Reading(BaseModel):
    place: str
    degrees: float


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


llm = OpenAILike(
    model="fast",
    api_base=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=128_000,
)

print("whole:", llm.chat([ChatMessage(role="user", content="What does a penstock do?")]).message.content)

count = [ChatMessage(role="user", content="Count: [[say one two three]]")]
print("streamed:", "".join(part.delta or "" for part in llm.stream_chat(count)))

print("complete:", llm.complete("And what does a turbine do?").text)

weather = FunctionTool.from_defaults(get_weather)
answer = llm.predict_and_call([weather], user_msg="What is the weather in Bergen?")
print("tool:", answer.sources[0].tool_name, answer.response)

print("structured:", repr(llm.as_structured_llm(Reading).complete("Bergen has 11.5 degrees.").raw))

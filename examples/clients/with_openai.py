"""The official OpenAI client. OPENAI_BASE_URL and OPENAI_API_KEY say where and as whom; it reads them itself."""

import json

from openai import NotFoundError, OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import BaseModel


class Reading(BaseModel):
    place: str
    degrees: float


def get_weather(city: str) -> str:
    return f"Rain in {city}."


TOOLS: list[ChatCompletionFunctionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]

client = OpenAI()

answer = client.chat.completions.create(
    model="fast", messages=[{"role": "user", "content": "What does a penstock do?"}]
)
print("whole:", answer.choices[0].message.content)

print("streamed:", end=" ")
for chunk in client.chat.completions.create(
    model="fast", messages=[{"role": "user", "content": "Count: [[say one two three]]"}], stream=True
):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")
print()

messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Bergen?"}]
asked = client.chat.completions.create(model="fast", messages=messages, tools=TOOLS).choices[0].message
messages.append({"role": "assistant", "tool_calls": asked.model_dump()["tool_calls"]})
for call in asked.tool_calls or []:
    if call.type != "function":
        continue
    told = get_weather(**json.loads(call.function.arguments))
    print("tool:", call.function.name, told)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": told})
answer = client.chat.completions.create(model="fast", messages=messages, tools=TOOLS)
print("after it:", answer.choices[0].message.content)

parsed = client.chat.completions.parse(
    model="fast", messages=[{"role": "user", "content": "Bergen has 11.5 degrees."}], response_format=Reading
)
print("parsed:", repr(parsed.choices[0].message.parsed))

print("responses:", client.responses.create(model="fast", input="And what does a turbine do?").output_text)

try:
    client.chat.completions.create(model="no-such-route", messages=[{"role": "user", "content": "Hello?"}])
except NotFoundError as error:
    print("refused:", error.code, error.request_id)

raw = client.chat.completions.with_raw_response.create(
    model="fast",
    messages=[{"role": "user", "content": "Name a river."}],
    extra_headers={"x-penstock-lane": "rt", "x-penstock-tags": "team=weather"},
)
print("headers:", raw.headers["x-penstock-job"], raw.headers["x-penstock-deployment"])

"""The official Anthropic client. ANTHROPIC_BASE_URL (without /v1) and ANTHROPIC_API_KEY say where and as whom."""

from anthropic import Anthropic, NotFoundError
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam

TOOLS: list[ToolParam] = [
    {
        "name": "get_weather",
        "description": "The weather in a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]

client = Anthropic()

answer = client.messages.create(
    model="smart", max_tokens=200, messages=[{"role": "user", "content": "What does a penstock do?"}]
)
print("whole:", *(block.text for block in answer.content if block.type == "text"))

print("streamed:", end=" ")
with client.messages.stream(
    model="smart", max_tokens=200, messages=[{"role": "user", "content": "Count: [[say one two three]]"}]
) as stream:
    for text in stream.text_stream:
        print(text, end="")
print()

messages: list[MessageParam] = [{"role": "user", "content": "What is the weather in Bergen?"}]
asked = client.messages.create(model="smart", max_tokens=200, messages=messages, tools=TOOLS)
messages.append({"role": "assistant", "content": asked.content})
for block in asked.content:
    if block.type == "tool_use":
        print("tool:", block.name, block.input)
        told = ToolResultBlockParam(type="tool_result", tool_use_id=block.id, content="Rain.")
        messages.append({"role": "user", "content": [told]})
answer = client.messages.create(model="smart", max_tokens=200, messages=messages, tools=TOOLS)
print("after it:", *(block.text for block in answer.content if block.type == "text"))

print("tokens:", client.messages.count_tokens(model="smart", messages=messages).input_tokens)
print("models:", *(model.id for model in client.models.list()))

try:
    client.messages.create(model="no-such-route", max_tokens=20, messages=[{"role": "user", "content": "Hello?"}])
except NotFoundError as error:
    print("refused:", error.request_id)

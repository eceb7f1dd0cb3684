"""LangChain. OPENAI_BASE_URL and OPENAI_API_KEY say where and as whom; `ChatOpenAI` reads them itself."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Reading(BaseModel):
    place: str
    degrees: float


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


weather = tool(get_weather)
llm = ChatOpenAI(model="fast")

answer = llm.invoke("What does a penstock do?")
print("whole:", answer.content, answer.usage_metadata["total_tokens"])

print("streamed:", "".join(str(chunk.content) for chunk in llm.stream("Count: [[say one two three]]")))

question = HumanMessage("What is the weather in Bergen?")
asked = llm.bind_tools([weather]).invoke([question])
results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls]
print("tool:", *(f"{call['name']} {result.content}" for call, result in zip(asked.tool_calls, results, strict=True)))
print("after it:", llm.bind_tools([weather]).invoke([question, asked, *results]).content)

print("structured:", repr(llm.with_structured_output(Reading).invoke("Bergen has 11.5 degrees.")))
by_call = llm.with_structured_output(Reading, method="function_calling")
print("structured:", repr(by_call.invoke("Bergen has 11.5 degrees.")))

print("responses:", ChatOpenAI(model="fast", use_responses_api=True).invoke("And what does a turbine do?").text)

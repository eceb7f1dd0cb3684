// Streams of a route that halts between its words, so that signs of life come in the middle, by every reader of Node's.
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";

const prompt = "Count: [[say one two three]]";
const messages = [{ role: "user", content: prompt }];
const openai = new OpenAI();

let said = "";
for await (const chunk of await openai.chat.completions.create({ model: "slow", messages, stream: true })) {
  said += chunk.choices[0]?.delta?.content ?? "";
}
console.log("chat:", said);

const response = openai.responses.stream({ model: "slow", input: prompt });
console.log("responses:", (await response.finalResponse()).output_text);

const message = new Anthropic().messages.stream({ model: "slow", max_tokens: 100, messages });
console.log("messages:", await message.finalText());

const { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY: apiKey } = process.env;
const model = createOpenAICompatible({ name: "penstock", baseURL, apiKey })("slow");
console.log("ai sdk:", await streamText({ model, prompt }).text);

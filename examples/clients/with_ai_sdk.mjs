// Vercel's AI SDK, by its provider for servers that speak OpenAI's chat API, and by OpenAI's own (the Responses API).
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";

const compatible = createOpenAICompatible({
  name: "penstock",
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const openai = createOpenAI(); // reads OPENAI_BASE_URL and OPENAI_API_KEY itself

const get_weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `Rain in ${city}.`,
});
const reading = Output.object({ schema: z.object({ place: z.string(), degrees: z.number() }) });

for (const [name, model] of Object.entries({ chat: compatible("fast"), responses: openai("fast") })) {
  const answer = await generateText({ model, prompt: "What does a penstock do?" });
  console.log(`${name} whole:`, answer.text, answer.usage.totalTokens);

  const stream = streamText({ model, prompt: "Count: [[say one two three]]" });
  let said = "";
  for await (const part of stream.textStream) said += part;
  console.log(`${name} streamed:`, said, (await stream.usage).outputTokens);

  const looked = await generateText({
    model,
    tools: { get_weather },
    stopWhen: isStepCount(3),
    prompt: "What is the weather in Bergen?",
  });
  console.log(`${name} tool:`, looked.steps[0].toolResults[0].output, "then:", looked.text);

  const { output } = await generateText({ model, output: reading, prompt: "Bergen has 11.5 degrees." });
  console.log(`${name} object:`, JSON.stringify(output));
}

// The official OpenAI client for Node. OPENAI_BASE_URL and OPENAI_API_KEY say where and as whom; it reads them itself.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI();
const user = (content) => [{ role: "user", content }];

const answer = await client.chat.completions.create({ model: "fast", messages: user("What does a penstock do?") });
console.log("whole:", answer.choices[0].message.content);

let said = "";
const stream = await client.chat.completions.create({
  model: "fast",
  messages: user("Count: [[say one two three]]"),
  stream: true,
});
for await (const chunk of stream) said += chunk.choices[0]?.delta?.content ?? "";
console.log("streamed:", said);

const runner = client.chat.completions.runTools({
  model: "fast",
  messages: user("What is the weather in Bergen?"),
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather in a city.",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
        parse: JSON.parse,
        function: ({ city }) => {
          console.log("tool: get_weather", city);
          return `Rain in ${city}.`;
        },
      },
    },
  ],
});
console.log("after it:", await runner.finalContent());

const reading = zodResponseFormat(z.object({ place: z.string(), degrees: z.number() }), "reading");
const parsed = await client.chat.completions.parse({
  model: "fast",
  messages: user("Bergen has 11.5 degrees."),
  response_format: reading,
});
console.log("parsed:", JSON.stringify(parsed.choices[0].message.parsed));

const response = await client.responses.create({ model: "fast", input: "And what does a turbine do?" });
console.log("responses:", response.output_text);

try {
  await client.chat.completions.create({ model: "no-such-route", messages: user("Hello?") });
} catch (error) {
  if (!(error instanceof OpenAI.NotFoundError)) throw error;
  console.log("refused:", error.code, error.requestID);
}

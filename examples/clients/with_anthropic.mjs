// The official Anthropic client for Node. ANTHROPIC_BASE_URL (without /v1) and ANTHROPIC_API_KEY: it reads them itself.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic();
const ask = (content) => ({ model: "smart", max_tokens: 200, messages: [{ role: "user", content }] });

const answer = await client.messages.create(ask("What does a penstock do?"));
console.log("whole:", answer.content[0].text);

const stream = client.messages.stream(ask("Count: [[say one two three]]"));
console.log("streamed:", await stream.finalText());

try {
  await client.messages.create({ ...ask("Hello?"), model: "no-such-route" });
} catch (error) {
  if (!(error instanceof Anthropic.NotFoundError)) throw error;
  console.log("refused:", error.requestID);
}

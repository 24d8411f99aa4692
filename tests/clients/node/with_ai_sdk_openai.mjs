// The AI SDK with OpenAI's provider, which uses the Responses API. Its settings are OPENAI_BASE_URL and OPENAI_API_KEY.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createOpenAI, openai } from "@ai-sdk/openai";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const model = openai("qwen2.5-coder:0.5b");
const greedy = { model, temperature: 0, maxOutputTokens: 60 };
const capital = "What is the capital of France?";

// Chat
const answer = await generateText({ ...greedy, prompt: capital });
assert.equal(answer.text, "The capital of France is Paris.");
assert.equal(answer.usage.outputTokens, 8);
assert.equal(answer.finishReason, "stop");
assert.match(answer.response.id, /^resp_/);

// A response that continues it
const continued = await generateText({
  ...greedy,
  prompt: "And the capital of Italy?",
  providerOptions: { openai: { previousResponseId: answer.response.id } },
});
assert.match(continued.text, /Rome/);

// Stream
const stream = streamText({ ...greedy, prompt: "What is the capital of Italy?" });
const parts = [];
for await (const part of stream.textStream) parts.push(part);
assert.equal(parts.join(""), "The capital of Italy is Rome.");
assert(parts.length > 2);
assert.equal((await stream.usage).outputTokens, 8);

// Tools, and what they return: the provider refers to the items of the first response.
const weather = tool({
  description: "Get the weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => "17 degrees and rain",
});
const asked = {
  ...greedy,
  tools: { get_weather: weather },
  stopWhen: stepCountIs(2),
  // A small model tends to call the tool again.
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "auto" : "none" }),
  prompt: "What is the weather in Paris?",
};
const { steps, text } = await generateText(asked);
assert.deepEqual(steps[0].toolCalls.map((call) => [call.toolName, call.input]), [["get_weather", { city: "Paris" }]]);
assert.match(text, /rain/);
const streamed = streamText(asked);
assert.match(await streamed.text, /rain/);
assert.equal((await streamed.steps).length, 2);

// A tool that has to be called
for (const toolChoice of ["required", { type: "tool", toolName: "get_weather" }]) {
  const forced = await generateText({
    ...greedy,
    tools: { get_weather: weather },
    toolChoice,
    prompt: "Hello! I live in Paris.",
  });
  assert.deepEqual(forced.toolCalls.map((call) => [call.toolName, typeof call.input.city]), [["get_weather", "string"]]);
}

// JSON schema
const { output } = await generateText({
  ...greedy,
  output: Output.object({ schema: z.object({ name: z.string(), age: z.int() }) }),
  prompt: "Marit Olsen is 34 years old and keeps a lighthouse.",
});
assert.deepEqual(output, { name: "Marit Olsen", age: 34 });

// Vision
const image = readFileSync("models/demo/samples/red_circle.png");
const content = [{ type: "text", text: "What objects are in this image?" }, { type: "image", image }];
const seen = await generateText({
  ...greedy,
  model: openai("simpleton-demo"),
  messages: [{ role: "user", content }],
});
assert.equal(seen.text, "A red circle.");

// A conversation: the provider refers to the earlier answer.
const messages = [{ role: "user", content: "My name is Ada. What is the capital of France?" }];
const first = await generateText({ ...greedy, messages });
messages.push(...first.response.messages, { role: "user", content: "What is my name?" });
assert.match((await generateText({ ...greedy, messages })).text, /Ada/);

// Embeddings
const { embeddings } = await embedMany({
  model: openai.embedding("all-minilm"),
  values: ["Hello world", "A harbor in the fog"],
});
assert.deepEqual(embeddings.map((embedding) => embedding.length), [384, 384]);

// Errors
const refused = (status, message) => (error) => {
  return APICallError.isInstance(error) && error.statusCode === status && message.test(error.message);
};
const wrongKey = createOpenAI({ apiKey: "wrong" });
await assert.rejects(generateText({ model: wrongKey("qwen2.5-coder:0.5b"), prompt: capital }), refused(401, /key/i));
await assert.rejects(generateText({ model: openai("gpt-4o"), prompt: capital }), refused(404, /gpt-4o/));
await assert.rejects(generateText({ ...greedy, temperature: 3, prompt: capital }), refused(400, /temperature/));

// A stream that is left
const controller = new AbortController();
const numbers = streamText({
  ...greedy,
  prompt: "Count from 1 to 1000, one number on each line.",
  maxOutputTokens: 4000,
  abortSignal: controller.signal,
});
for await (const part of numbers.textStream) {
  assert(part);
  controller.abort();
}

// The AI SDK with its provider for servers with OpenAI's API. Its settings are the base URL and the key.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const simpleton = createOpenAICompatible({
  name: "simpleton",
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
  supportsStructuredOutputs: true,
  includeUsage: true,
});
const model = simpleton("qwen2.5-coder:0.5b");
const capital = "What is the capital of France?";

// Chat
const answer = await generateText({ model, prompt: capital, temperature: 0 });
assert.equal(answer.text, "The capital of France is Paris.");
assert.equal(answer.usage.outputTokens, 8);
assert.equal(answer.finishReason, "stop");

// Stream
const stream = streamText({ model, prompt: "What is the capital of Italy?", temperature: 0 });
const parts = [];
for await (const part of stream.textStream) parts.push(part);
assert.equal(parts.join(""), "The capital of Italy is Rome.");
assert(parts.length > 2);
assert.equal((await stream.usage).outputTokens, 8);

// Tools, and what they return
const weather = tool({
  description: "Get the weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => "17 degrees and rain",
});
const asked = {
  model,
  tools: { get_weather: weather },
  stopWhen: stepCountIs(2),
  // A small model tends to call the tool again.
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "auto" : "none" }),
  prompt: "What is the weather in Paris?",
  temperature: 0,
  maxOutputTokens: 60,
};
const { steps, text } = await generateText(asked);
assert.deepEqual(steps[0].toolCalls.map((call) => [call.toolName, call.input]), [["get_weather", { city: "Paris" }]]);
assert.match(text, /rain/);
const streamed = streamText(asked);
assert.match(await streamed.text, /rain/);
assert.equal((await streamed.steps).length, 2);

// JSON schema
const { output } = await generateText({
  model,
  output: Output.object({ schema: z.object({ name: z.string(), age: z.int() }) }),
  prompt: "Marit Olsen is 34 years old and keeps a lighthouse.",
  temperature: 0,
});
assert.deepEqual(output, { name: "Marit Olsen", age: 34 });

// Vision
const image = readFileSync("models/demo/samples/red_circle.png");
const content = [{ type: "text", text: "What objects are in this image?" }, { type: "image", image }];
const seen = await generateText({
  model: simpleton("simpleton-demo"),
  messages: [{ role: "user", content }],
  temperature: 0,
});
assert.equal(seen.text, "A red circle.");

// Embeddings
const { embeddings } = await embedMany({
  model: simpleton.embeddingModel("all-minilm"),
  values: ["Hello world", "A harbor in the fog"],
});
assert.deepEqual(embeddings.map((embedding) => embedding.length), [384, 384]);

// Errors
await assert.rejects(generateText({ model: simpleton("gpt-4o"), prompt: capital }), (error) => {
  return APICallError.isInstance(error) && error.statusCode === 404 && error.message.includes("gpt-4o");
});

// A stream that is left
const controller = new AbortController();
const numbers = streamText({
  model,
  prompt: "Count from 1 to 1000, one number on each line.",
  temperature: 0,
  maxOutputTokens: 4000,
  abortSignal: controller.signal,
});
for await (const part of numbers.textStream) {
  assert(part);
  controller.abort();
}

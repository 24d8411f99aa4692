// Ollama's client for JavaScript. Its settings are the address and a header with the key.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import { z } from "zod";

const host = process.env.OLLAMA_HOST;
const ollama = new Ollama({ host, headers: { Authorization: `Bearer ${process.env.OLLAMA_API_KEY}` } });
const model = "qwen2.5-coder:0.5b";
const options = { temperature: 0, num_predict: 60 };
const capital = [{ role: "user", content: "What is the capital of France?" }];

// Chat
const response = await ollama.chat({ model, messages: capital, options });
assert.equal(response.message.content, "The capital of France is Paris.");
assert.deepEqual([response.done, response.done_reason, response.eval_count], [true, "stop", 8]);

// Stream
const parts = [];
const italy = [{ role: "user", content: "What is the capital of Italy?" }];
for await (const part of await ollama.chat({ model, messages: italy, options, stream: true })) parts.push(part);
assert.equal(parts.map((part) => part.message.content).join(""), "The capital of Italy is Rome.");
assert(parts.length > 4);
assert.equal(parts.at(-1).eval_count, 8);

// Tools, and what they return
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Get the weather of a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const asked = await ollama.chat({ model, messages, tools, options });
const called = ({ function: { name, arguments: given } }) => [name, given];
assert.deepEqual(asked.message.tool_calls.map(called), [["get_weather", { city: "Paris" }]]);
const conversation = [
  ...messages,
  asked.message,
  { role: "tool", tool_name: "get_weather", content: "17 degrees and rain" },
  // A small model tends to call the tool again.
  { role: "user", content: "Answer in one sentence." },
];
const told = await ollama.chat({ model, messages: conversation, tools, options });
assert.match(told.message.content, /17/);

// Tools in a stream
const streamed = [];
for await (const part of await ollama.chat({ model, messages, tools, options, stream: true })) {
  streamed.push(...(part.message.tool_calls ?? []));
}
assert.deepEqual(streamed.map(called), [["get_weather", { city: "Paris" }]]);

// JSON schema
const Person = z.object({ name: z.string(), age: z.int() });
const person = [{ role: "user", content: "Marit Olsen is 34 years old and keeps a lighthouse." }];
const typed = await ollama.chat({ model, messages: person, format: z.toJSONSchema(Person), options });
assert.deepEqual(Person.parse(JSON.parse(typed.message.content)), { name: "Marit Olsen", age: 34 });

// Vision
const objects = "What objects are in this image?";
const images = ["models/demo/samples/red_circle.png"];
const seen = await ollama.chat({
  model: "simpleton-demo",
  messages: [{ role: "user", content: objects, images }],
  options,
});
assert.equal(seen.message.content, "A red circle.");

// Generate
const generated = await ollama.generate({ model, prompt: capital[0].content, options });
assert.equal(generated.response, "The capital of France is Paris.");

// Embeddings
const input = ["Hello world", "A harbor in the fog"];
const { embeddings } = await ollama.embed({ model: "all-minilm", input });
assert.deepEqual(embeddings.map((embedding) => embedding.length), [384, 384]);
const { embedding } = await ollama.embeddings({ model: "all-minilm", prompt: input[0] });
assert(embedding.reduce((sum, value, i) => sum + value * embeddings[0][i], 0) > 0.999);

// Models
const names = async () => (await ollama.list()).models.map((each) => each.model);
assert((await names()).includes(model));
assert((await ollama.ps()).models.some((each) => each.model === model));
assert((await ollama.show({ model })).capabilities.includes("tools"));
assert.match((await ollama.version()).version, /^\d+\.\d+\.\d+$/);
await ollama.copy({ source: model, destination: "copy" });
assert((await names()).includes("copy:latest"));
await ollama.delete({ model: "copy" });
assert(!(await names()).includes("copy:latest"));

// Errors
const refused = (status, error) => (thrown) => thrown.status_code === status && error.test(thrown.message);
const wrongKey = new Ollama({ host, headers: { Authorization: "Bearer wrong" } });
await assert.rejects(wrongKey.chat({ model, messages: capital }), refused(401, /key/i));
const noModel = { model: "llama3.2", messages: capital };
await assert.rejects(ollama.chat(noModel), refused(404, /^model 'llama3.2' not found$/));
await assert.rejects(ollama.chat({ ...noModel, stream: true }), refused(404, /^model 'llama3.2' not found$/));
const warm = { model, messages: capital, options: { temperature: 3 } };
await assert.rejects(ollama.chat(warm), refused(400, /temperature/));

// A stream that is left
const numbers = await ollama.chat({
  model,
  messages: [{ role: "user", content: "Count from 1 to 1000, one number on each line." }],
  options: { ...options, num_predict: 4000 },
  stream: true,
});
await assert.rejects(
  async () => {
    for await (const part of numbers) {
      assert(part.message.content);
      numbers.abort();
    }
  },
  { name: "AbortError" },
);

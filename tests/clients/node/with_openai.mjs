// OpenAI's client for Node.js. Its settings are OPENAI_BASE_URL and OPENAI_API_KEY.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI();
const model = "qwen2.5-coder:0.5b";
const capital = [{ role: "user", content: "What is the capital of France?" }];

// Chat
const completion = await client.chat.completions.create({ model, messages: capital, temperature: 0 });
assert.equal(completion.choices[0].message.content, "The capital of France is Paris.");
assert.equal(completion.choices[0].finish_reason, "stop");

// Stream
let text = "";
let chunks = 0;
const italy = [{ role: "user", content: "What is the capital of Italy?" }];
for await (const chunk of await client.chat.completions.create({ model, messages: italy, temperature: 0, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? "";
  chunks += 1;
}
assert.equal(text, "The capital of Italy is Rome.");
assert(chunks > 4);

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
const { choices } = await client.chat.completions.create({ model, messages, tools, temperature: 0 });
const [call] = choices[0].message.tool_calls;
assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Paris" }]);
messages.push(
  choices[0].message,
  { role: "tool", tool_call_id: call.id, content: "17 degrees and rain" },
  { role: "user", content: "Answer in one sentence." },
);
const told = await client.chat.completions.create({ model, messages, tools, temperature: 0, max_tokens: 60 });
assert.match(told.choices[0].message.content, /17/);

// JSON schema
const CalendarEvent = z.object({ name: z.string(), date: z.string(), participants: z.array(z.string()) });
const parsed = await client.chat.completions.parse({
  model,
  messages: [
    { role: "system", content: "Extract the event information." },
    { role: "user", content: "Alice and Bob are going to a science fair on Friday." },
  ],
  response_format: zodResponseFormat(CalendarEvent, "event"),
  temperature: 0,
});
const event = parsed.choices[0].message.parsed;
assert.deepEqual([event.date, event.participants], ["Friday", ["Alice", "Bob"]]);

// Vision
const image = readFileSync("models/demo/samples/red_circle.png").toString("base64");
const seen = await client.chat.completions.create({
  model: "simpleton-demo",
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "What objects are in this image?" },
        { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } },
      ],
    },
  ],
  temperature: 0,
});
assert.equal(seen.choices[0].message.content, "A red circle.");

// Embeddings: the client asks for base64 unless it is told otherwise.
const input = ["Hello world", "A harbor in the fog"];
const embeddings = await client.embeddings.create({ model: "all-minilm", input });
const floats = await client.embeddings.create({ model: "all-minilm", input: "Hello world", encoding_format: "float" });
assert.deepEqual(embeddings.data.map((item) => item.embedding.length), [384, 384]);
assert(embeddings.data[0].embedding.every((value, i) => Math.abs(value - floats.data[0].embedding[i]) < 1e-6));

// Models
const models = [];
for await (const each of client.models.list()) models.push(each.id);
assert(models.includes(model));

// Errors
const wrongKey = new OpenAI({ apiKey: "wrong" });
await assert.rejects(wrongKey.models.list(), OpenAI.AuthenticationError);
await assert.rejects(client.chat.completions.create({ model: "gpt-4o", messages: capital }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model, messages: capital, temperature: 3 }), (error) => {
  return error instanceof OpenAI.BadRequestError && error.param === "temperature";
});

// A stream that is left
const numbers = [{ role: "user", content: "Count from 1 to 1000, one number on each line." }];
const stream = await client.chat.completions.create({
  model,
  messages: numbers,
  temperature: 0,
  max_tokens: 4000,
  stream: true,
});
for await (const chunk of stream) {
  assert(chunk.choices);
  break;
}

"""LiteLLM's client. Its settings are OPENAI_BASE_URL and OPENAI_API_KEY."""

import base64
import json
from pathlib import Path

import litellm
from litellm import completion, embedding
from pydantic import BaseModel

model = "openai/qwen2.5-coder:0.5b"
capital = [{"role": "user", "content": "What is the capital of France?"}]

# Chat
response = completion(model=model, messages=capital, temperature=0)
assert response.choices[0].message.content == "The capital of France is Paris.", response
assert response.usage.completion_tokens == 8, response

# Stream
italy = [{"role": "user", "content": "What is the capital of Italy?"}]
chunks = list(completion(model=model, messages=italy, temperature=0, stream=True))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
assert text == "The capital of Italy is Rome." and len(chunks) > 4, chunks

# Tools, and what they return
tools = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
response = completion(model=model, messages=messages, tools=tools, temperature=0)
message = response.choices[0].message
[call] = message.tool_calls
assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"}), call
messages += [
    message,
    {"role": "tool", "tool_call_id": call.id, "content": "17 degrees and rain"},
    {"role": "user", "content": "Answer in one sentence."},
]
response = completion(model=model, messages=messages, tools=tools, temperature=0, max_tokens=60)
assert "17" in response.choices[0].message.content, response


# JSON schema
class Person(BaseModel):
    name: str
    age: int


response = completion(
    model=model,
    messages=[{"role": "user", "content": "Marit Olsen is 34 years old and keeps a lighthouse. Who is it?"}],
    response_format=Person,
    temperature=0,
)
assert Person.model_validate_json(response.choices[0].message.content) == Person(name="Marit Olsen", age=34)

# Vision
image = base64.b64encode(Path("models/demo/samples/red_circle.png").read_bytes()).decode()
content = [
    {"type": "text", "text": "What objects are in this image?"},
    {"type": "image_url", "image_url": f"data:image/png;base64,{image}"},
]
response = completion(model="openai/simpleton-demo", messages=[{"role": "user", "content": content}], temperature=0)
assert response.choices[0].message.content == "A red circle.", response

# Embeddings
response = embedding(model="openai/all-minilm", input=["Hello world", "A harbor in the fog"])
assert [len(item["embedding"]) for item in response.data] == [384, 384], response

# Errors
for kind, fields in [
    (litellm.AuthenticationError, {"model": model, "api_key": "wrong"}),
    (litellm.NotFoundError, {"model": "openai/gpt-4o"}),
    (litellm.BadRequestError, {"model": model, "temperature": 3}),
]:
    try:
        completion(messages=capital, **fields)
        raise AssertionError(f"there was no {kind}")
    except kind as error:
        assert type(error) is kind, error

# A stream that is left
numbers = [{"role": "user", "content": "Count from 1 to 1000, one number on each line."}]
stream = completion(model=model, messages=numbers, temperature=0, max_tokens=4000, stream=True)
next(stream)
stream.completion_stream.close()

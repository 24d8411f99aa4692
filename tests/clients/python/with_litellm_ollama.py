"""LiteLLM's client with Ollama's API. Its settings are OLLAMA_API_BASE and OLLAMA_API_KEY."""

import base64
import json
from pathlib import Path

import litellm
from litellm import completion, embedding
from pydantic import BaseModel

greedy = {"model": "ollama_chat/qwen2.5-coder:0.5b", "temperature": 0, "max_tokens": 60}
capital = [{"role": "user", "content": "What is the capital of France?"}]

# Chat
response = completion(messages=capital, **greedy)
assert response.choices[0].message.content == "The capital of France is Paris.", response
assert response.usage.completion_tokens == 8, response

# Stream
italy = [{"role": "user", "content": "What is the capital of Italy?"}]
chunks = list(completion(messages=italy, stream=True, **greedy))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
assert text == "The capital of Italy is Rome." and len(chunks) > 4, chunks

# Tools, and what they return
weather = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
response = completion(messages=messages, tools=[weather], **greedy)
message = response.choices[0].message
[call] = message.tool_calls
assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"}), call
messages += [
    message,
    {"role": "tool", "tool_call_id": call.id, "content": "17 degrees and rain"},
    {"role": "user", "content": "Answer in one sentence."},
]
response = completion(messages=messages, tools=[weather], **greedy)
assert "17" in response.choices[0].message.content, response


# JSON schema
class Person(BaseModel):
    name: str
    age: int


person = [{"role": "user", "content": "Marit Olsen is 34 years old and keeps a lighthouse. Who is it?"}]
response = completion(messages=person, response_format=Person, **greedy)
assert Person.model_validate_json(response.choices[0].message.content) == Person(name="Marit Olsen", age=34)

# Vision
image = base64.b64encode(Path("models/demo/samples/red_circle.png").read_bytes()).decode()
content = [
    {"type": "text", "text": "What objects are in this image?"},
    {"type": "image_url", "image_url": f"data:image/png;base64,{image}"},
]
objects = [{"role": "user", "content": content}]
response = completion(**{**greedy, "model": "ollama_chat/simpleton-demo"}, messages=objects)
assert response.choices[0].message.content == "A red circle.", response

# Embeddings
response = embedding(model="ollama/all-minilm", input=["Hello world", "A harbor in the fog"])
assert [len(item["embedding"]) for item in response.data] == [384, 384], response

# Errors
for kind, fields in [
    (litellm.AuthenticationError, {"api_key": "wrong"}),
    (litellm.NotFoundError, {"model": "ollama_chat/llama3.2"}),
    (litellm.BadRequestError, {"temperature": 3}),
]:
    try:
        completion(messages=capital, **{**greedy, **fields})
        raise AssertionError(f"there was no {kind}")
    except kind as error:
        assert type(error) is kind, error

# A stream that is left
numbers = [{"role": "user", "content": "Count from 1 to 1000, one number on each line."}]
stream = completion(**{**greedy, "max_tokens": 4000}, messages=numbers, stream=True)
next(stream)
stream.completion_stream.close()

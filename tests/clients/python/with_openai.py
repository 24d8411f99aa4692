"""OpenAI's client for Python. Its settings are OPENAI_BASE_URL and OPENAI_API_KEY."""

import base64
import json
from pathlib import Path

import openai
from openai import OpenAI
from pydantic import BaseModel

client = OpenAI()
model = "qwen2.5-coder:0.5b"
capital = [{"role": "user", "content": "What is the capital of France?"}]

# Chat
completion = client.chat.completions.create(model=model, messages=capital, temperature=0)
assert completion.choices[0].message.content == "The capital of France is Paris.", completion
assert completion.choices[0].finish_reason == "stop", completion
assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens

# Stream
italy = [{"role": "user", "content": "What is the capital of Italy?"}]
stream = client.chat.completions.create(
    model=model, messages=italy, temperature=0, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == "The capital of Italy is Rome." and len(chunks) > 4, chunks
assert chunks[-1].usage.completion_tokens == 8, chunks[-1]

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
completion = client.chat.completions.create(model=model, messages=messages, tools=tools, temperature=0)
message = completion.choices[0].message
assert completion.choices[0].finish_reason == "tool_calls", completion
[call] = message.tool_calls
assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"}), call
messages += [
    message,
    {"role": "tool", "tool_call_id": call.id, "content": "17 degrees and rain"},
    {"role": "user", "content": "Answer in one sentence."},
]
completion = client.chat.completions.create(
    model=model, messages=messages, tools=tools, temperature=0, max_tokens=60
)
assert "17" in completion.choices[0].message.content, completion

# Tools in a stream, as the client puts their pieces together
with client.chat.completions.stream(model=model, messages=messages[:1], tools=tools, temperature=0) as stream:
    done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    final = stream.get_final_completion()
assert [(event.name, event.arguments) for event in done] == [("get_weather", '{"city":"Paris"}')], done
assert final.choices[0].message.tool_calls[0].function.name == "get_weather", final


# JSON schema
class CalendarEvent(BaseModel):
    name: str
    date: str
    participants: list[str]


completion = client.chat.completions.parse(
    model=model,
    messages=[
        {"role": "system", "content": "Extract the event information."},
        {"role": "user", "content": "Alice and Bob are going to a science fair on Friday."},
    ],
    response_format=CalendarEvent,
    temperature=0,
)
event = completion.choices[0].message.parsed
assert (event.date, event.participants) == ("Friday", ["Alice", "Bob"]), event

# Vision
image = base64.b64encode(Path("models/demo/samples/red_circle.png").read_bytes()).decode()
completion = client.chat.completions.create(
    model="simpleton-demo",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What objects are in this image?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            ],
        }
    ],
    temperature=0,
)
assert completion.choices[0].message.content == "A red circle.", completion

# Embeddings: the client asks for base64 unless it is told otherwise.
embeddings = client.embeddings.create(model="all-minilm", input=["Hello world", "A harbor in the fog"])
floats = client.embeddings.create(model="all-minilm", input="Hello world", encoding_format="float")
assert [len(item.embedding) for item in embeddings.data] == [384, 384], embeddings
assert all(abs(a - b) < 1e-6 for a, b in zip(embeddings.data[0].embedding, floats.data[0].embedding))

# Completions
completion = client.completions.create(model=model, prompt="The capital of France is", max_tokens=3, temperature=0)
assert "Paris" in completion.choices[0].text, completion

# Models
assert model in [each.id for each in client.models.list()]
assert client.models.retrieve(model).id == model


# Errors
def error(call):
    try:
        call()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("there was no error")


wrong_key = error(lambda: OpenAI(api_key="wrong").models.list())
assert isinstance(wrong_key, openai.AuthenticationError), wrong_key
no_model = error(lambda: client.chat.completions.create(model="gpt-4o", messages=capital))
assert isinstance(no_model, openai.NotFoundError), no_model
assert no_model.code == "model_not_found", no_model.body
too_warm = error(lambda: client.chat.completions.create(model=model, messages=capital, temperature=3))
assert isinstance(too_warm, openai.BadRequestError), too_warm
assert too_warm.param == "temperature", too_warm.body

# A stream that is left
numbers = [{"role": "user", "content": "Count from 1 to 1000, one number on each line."}]
with client.chat.completions.create(
    model=model, messages=numbers, temperature=0, max_tokens=4000, stream=True
) as stream:
    assert next(stream).choices

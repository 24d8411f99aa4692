"""Anthropic's client for Python. Its settings are ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY."""

import base64
from pathlib import Path

import anthropic
from anthropic import Anthropic
from pydantic import BaseModel

client = Anthropic()
model = "qwen2.5-coder:0.5b"
# The client has no argument for the temperature.
greedy = {"extra_body": {"temperature": 0}}
capital = [{"role": "user", "content": "What is the capital of France?"}]

# Chat
message = client.messages.create(model=model, max_tokens=60, messages=capital, **greedy)
assert message.content[0].text == "The capital of France is Paris.", message
assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 8), message

# Stream
italy = [{"role": "user", "content": "What is the capital of Italy?"}]
with client.messages.stream(model=model, max_tokens=60, messages=italy, **greedy) as stream:
    parts = list(stream.text_stream)
    final = stream.get_final_message()
assert "".join(parts) == "The capital of Italy is Rome." and len(parts) > 2, parts
assert (final.content[0].text, final.usage.output_tokens) == ("The capital of Italy is Rome.", 8), final

# Tools, and what they return
tools = [
    {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
options = {"model": model, "max_tokens": 60, "tools": tools, **greedy}
message = client.messages.create(messages=messages, **options)
assert message.stop_reason == "tool_use", message
[call] = [block for block in message.content if block.type == "tool_use"]
assert (call.name, call.input) == ("get_weather", {"city": "Paris"}), call
result = {"type": "tool_result", "tool_use_id": call.id, "content": "17 degrees and rain"}
ask = {"type": "text", "text": "Answer in one sentence."}
messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result, ask]}]
message = client.messages.create(messages=messages, **options)
assert "17" in message.content[0].text, message

# Tools in a stream
with client.messages.stream(messages=messages[:1], **options) as stream:
    [call] = [block for block in stream.get_final_message().content if block.type == "tool_use"]
assert (call.name, call.input) == ("get_weather", {"city": "Paris"}), call


# JSON schema
class Person(BaseModel):
    name: str
    age: int


message = client.messages.parse(
    model=model,
    max_tokens=60,
    messages=[{"role": "user", "content": "Marit Olsen is 34 years old and keeps a lighthouse."}],
    output_format=Person,
    **greedy,
)
assert message.parsed_output == Person(name="Marit Olsen", age=34), message

# Vision
image = base64.b64encode(Path("models/demo/samples/red_circle.png").read_bytes()).decode()
content = [
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
    {"type": "text", "text": "What objects are in this image?"},
]
message = client.messages.create(
    model="simpleton-demo", max_tokens=60, messages=[{"role": "user", "content": content}], **greedy
)
assert message.content[0].text == "A red circle.", message

# Tokens and models
assert client.messages.count_tokens(model=model, messages=capital).input_tokens == 36
assert model in [each.id for each in client.models.list()]
assert client.models.retrieve(model).id == model


# Errors
def error(call):
    try:
        call()
    except anthropic.APIStatusError as error:
        return error
    raise AssertionError("there was no error")


def ask(client=client, **fields):
    return client.messages.create(**{"model": model, "max_tokens": 9, "messages": capital, **fields})


wrong_key = error(lambda: ask(Anthropic(api_key="wrong")))
assert isinstance(wrong_key, anthropic.AuthenticationError), wrong_key
no_model = error(lambda: ask(model="gpt-4o"))
assert isinstance(no_model, anthropic.NotFoundError), no_model
too_warm = error(lambda: ask(extra_body={"temperature": 3}))
assert isinstance(too_warm, anthropic.BadRequestError) and "temperature" in str(too_warm), too_warm

# A stream that is left
numbers = [{"role": "user", "content": "Count from 1 to 1000, one number on each line."}]
with client.messages.stream(model=model, max_tokens=4000, messages=numbers, **greedy) as stream:
    assert next(stream.text_stream)

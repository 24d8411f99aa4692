"""OpenAI's client for Python with the Responses API. Its settings are OPENAI_BASE_URL and OPENAI_API_KEY."""

import base64
import json
from pathlib import Path

import openai
from openai import OpenAI
from pydantic import BaseModel

client = OpenAI()
greedy = {"model": "qwen2.5-coder:0.5b", "temperature": 0, "max_output_tokens": 60}

# A response, and one that continues it
first = client.responses.create(input="My name is Ada. What is the capital of France?", **greedy)
assert first.status == "completed" and "Paris" in first.output_text, first
assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens, first.usage
second = client.responses.create(input="What is my name?", previous_response_id=first.id, **greedy)
assert "Ada" in second.output_text and second.previous_response_id == first.id, second

# Stream
with client.responses.stream(input="What is the capital of Italy?", **greedy) as stream:
    events = list(stream)
    final = stream.get_final_response()
assert final.output_text == "The capital of Italy is Rome.", final
types = [event.type for event in events]
deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
assert "".join(deltas) == final.output_text and len(deltas) > 4, deltas
assert types == [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * len(deltas),
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
], types
assert [event.sequence_number for event in events] == list(range(len(events))), events

# Tools, and what they return
weather = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
options = {"tools": [weather], **greedy}
question = [{"role": "user", "content": "What is the weather in Paris?"}]
asked = client.responses.create(input=question, **options)
[call] = [item for item in asked.output if item.type == "function_call"]
assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"}), asked
result = {"type": "function_call_output", "call_id": call.call_id, "output": "17 degrees and rain"}
sentence = {"role": "user", "content": "Answer in one sentence."}
told = client.responses.create(input=[result, sentence], previous_response_id=asked.id, **options)
assert "17" in told.output_text, told
# The same conversation, sent whole
told = client.responses.create(input=[*question, *asked.output, result, sentence], store=False, **options)
assert "17" in told.output_text, told

# A tool that has to be called, in a stream
choice = {"type": "function", "name": "get_weather"}
with client.responses.stream(input="Hello! I live in Paris.", tool_choice=choice, **options) as stream:
    done = [event for event in stream if event.type == "response.function_call_arguments.done"]
    [call] = stream.get_final_response().output
assert call.name == "get_weather" and isinstance(json.loads(call.arguments)["city"], str), call
assert [event.arguments for event in done] == [call.arguments], done


# JSON schema
class CalendarEvent(BaseModel):
    name: str
    date: str
    participants: list[str]


parsed = client.responses.parse(
    instructions="Extract the event information.",
    input="Alice and Bob are going to a science fair on Friday.",
    text_format=CalendarEvent,
    **greedy,
)
event = parsed.output_parsed
assert (event.date, event.participants) == ("Friday", ["Alice", "Bob"]), parsed

# Vision
image = base64.b64encode(Path("models/demo/samples/red_circle.png").read_bytes()).decode()
content = [
    {"type": "input_text", "text": "What objects are in this image?"},
    {"type": "input_image", "image_url": f"data:image/png;base64,{image}"},
]
seen = client.responses.create(
    **{**greedy, "model": "simpleton-demo"}, input=[{"role": "user", "content": content}]
)
assert seen.output_text == "A red circle.", seen

# What is stored
assert client.responses.retrieve(first.id) == first
[item] = client.responses.input_items.list(first.id)
assert item.content[0].text == "My name is Ada. What is the capital of France?", item
assert client.responses.delete(first.id) is None


# Errors
def error(call):
    try:
        call()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("there was no error")


deleted = error(lambda: client.responses.retrieve(first.id))
assert isinstance(deleted, openai.NotFoundError), deleted
orphan = error(lambda: client.responses.create(input="Hi", previous_response_id=first.id, **greedy))
assert isinstance(orphan, openai.BadRequestError) and orphan.code == "previous_response_not_found", orphan.body
wrong_key = error(lambda: OpenAI(api_key="wrong").responses.create(input="Hi", **greedy))
assert isinstance(wrong_key, openai.AuthenticationError), wrong_key
no_model = error(lambda: client.responses.create(model="gpt-4o", input="Hi"))
assert isinstance(no_model, openai.NotFoundError) and no_model.code == "model_not_found", no_model.body
too_warm = error(lambda: client.responses.create(**{**greedy, "temperature": 3}, input="Hi"))
assert isinstance(too_warm, openai.BadRequestError) and too_warm.param == "temperature", too_warm.body

# Background
made = client.responses.create(input="What is the capital of Spain?", background=True, **greedy)
assert made.status == "queued", made
cancelled = client.responses.create(
    **{**greedy, "max_output_tokens": 4000}, input="Count from 1 to 1000.", background=True
)
assert client.responses.cancel(cancelled.id).status == "cancelled"
while made.status in ("queued", "in_progress"):
    made = client.responses.retrieve(made.id)
assert "Madrid" in made.output_text, made

# A stream that is left
numbers = {"input": "Count from 1 to 1000, one number on each line.", "max_output_tokens": 4000}
with client.responses.create(**{**greedy, **numbers}, stream=True) as stream:
    assert next(event for event in stream if event.type == "response.output_text.delta").delta

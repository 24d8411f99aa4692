"""Ollama's client for Python. Its settings are OLLAMA_HOST and OLLAMA_API_KEY."""

from pathlib import Path

import ollama
from ollama import Client, chat
from pydantic import BaseModel

model = "qwen2.5-coder:0.5b"
greedy = {"temperature": 0, "num_predict": 60}
capital = [{"role": "user", "content": "What is the capital of France?"}]

# Chat
response = chat(model=model, messages=capital, options=greedy)
assert response.message.content == "The capital of France is Paris.", response
assert (response.done, response.done_reason, response.eval_count) == (True, "stop", 8), response
prompt_tokens = response.prompt_eval_count

# Stream
italy = [{"role": "user", "content": "What is the capital of Italy?"}]
chunks = list(chat(model=model, messages=italy, options=greedy, stream=True))
assert "".join(chunk.message.content for chunk in chunks) == "The capital of Italy is Rome.", chunks
assert len(chunks) > 4 and [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True], chunks
assert chunks[-1].eval_count == 8, chunks[-1]


# Tools, and what they return
def get_weather(city: str) -> str:
    """
    Get the weather of a city

    Args:
        city: Name of the city
    """
    return "17 degrees and rain"


messages = [{"role": "user", "content": "What is the weather in Paris?"}]
response = chat(model=model, messages=messages, tools=[get_weather], options=greedy)
[call] = response.message.tool_calls
assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"}), response
messages += [
    response.message,
    {"role": "tool", "tool_name": call.function.name, "content": get_weather(**call.function.arguments)},
    # A small model tends to call the tool again.
    {"role": "user", "content": "Answer in one sentence."},
]
response = chat(model=model, messages=messages, tools=[get_weather], options=greedy)
assert "17" in response.message.content, response

# Tools in a stream
chunks = list(chat(model=model, messages=messages[:1], tools=[get_weather], options=greedy, stream=True))
[call] = [call for chunk in chunks for call in chunk.message.tool_calls or []]
assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"}), chunks


# JSON schema
class Person(BaseModel):
    name: str
    age: int


person = [{"role": "user", "content": "Marit Olsen is 34 years old and keeps a lighthouse."}]
response = chat(model=model, messages=person, format=Person.model_json_schema(), options=greedy)
assert Person.model_validate_json(response.message.content) == Person(name="Marit Olsen", age=34), response

# Vision
image = Path("models/demo/samples/red_circle.png")
objects = [{"role": "user", "content": "What objects are in this image?", "images": [image]}]
response = chat(model="simpleton-demo", messages=objects, options=greedy)
assert response.message.content == "A red circle.", response

# Generate, and fill in the middle
response = ollama.generate(model=model, prompt=capital[0]["content"], options=greedy)
assert response.response == "The capital of France is Paris.", response
code = ollama.generate(
    model=model, prompt="def add(a, b):\n    ", suffix="\n\nprint(add(1, 2))\n", options={**greedy, "num_predict": 16}
)
assert "return a + b" in code.response, code

# Embeddings
texts = ["The harbor lies in fog.", "Python is a programming language."]
vectors = ollama.embed(model="all-minilm", input=texts).embeddings
[query] = ollama.embed(model="all-minilm", input="Which language can one write programs in?").embeddings
near = [sum(a * b for a, b in zip(query, vector)) for vector in vectors]
assert len(query) == 384 and near[1] > near[0], near
older = ollama.embeddings(model="all-minilm", prompt=texts[0]).embedding
assert sum(a * b for a, b in zip(older, vectors[0])) > 0.999, older

# Models
assert model in [each.model for each in ollama.list().models]
assert ollama.generate(model=model).done_reason == "load"
assert model in [each.model for each in ollama.ps().models]
shown = ollama.show(model)
assert {"completion", "tools"} <= set(shown.capabilities) and shown.details.family == "qwen2", shown
ollama.create(model="brief", from_=model, system="Be brief.", parameters={"num_predict": 3})
# Its system prompt is shorter than the one in the template, and its limit is used without options.
brief = chat(model="brief", messages=capital)
assert (brief.done_reason, brief.eval_count) == ("length", 3) and brief.prompt_eval_count < prompt_tokens, brief
ollama.copy("brief", "briefer")
ollama.delete("brief")
names = [each.model for each in ollama.list().models]
assert "briefer:latest" in names and "brief:latest" not in names, names


# Errors
def error(call):
    try:
        call()
    except ollama.ResponseError as error:
        return error
    raise AssertionError("there was no error")


wrong_key = Client(headers={"Authorization": "Bearer wrong"})
refused = error(lambda: wrong_key.chat(model=model, messages=capital))
assert refused.status_code == 401, refused
no_model = error(lambda: chat(model="llama3.2", messages=capital))
assert (no_model.status_code, no_model.error) == (404, "model 'llama3.2' not found"), no_model
no_model = error(lambda: next(chat(model="llama3.2", messages=capital, stream=True)))
assert (no_model.status_code, no_model.error) == (404, "model 'llama3.2' not found"), no_model
too_warm = error(lambda: chat(model=model, messages=capital, options={"temperature": 3}))
assert too_warm.status_code == 400 and "temperature" in too_warm.error, too_warm

# A stream that is left
numbers = [{"role": "user", "content": "Count from 1 to 1000, one number on each line."}]
stream = chat(model=model, messages=numbers, options={**greedy, "num_predict": 4000}, stream=True)
assert next(stream).message.content
stream.close()

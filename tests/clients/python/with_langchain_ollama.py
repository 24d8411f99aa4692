"""LangChain's ChatOllama and OllamaEmbeddings. Their settings are OLLAMA_HOST and OLLAMA_API_KEY."""

import base64
from pathlib import Path

import ollama
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from pydantic import BaseModel, Field

greedy = {"temperature": 0, "num_predict": 60}
llm = ChatOllama(model="qwen2.5-coder:0.5b", **greedy)
question = "What is the capital of France?"

# Chat
answer = llm.invoke([("system", "You are a helpful assistant."), ("human", question)])
assert answer.text == "The capital of France is Paris.", answer
assert answer.usage_metadata["output_tokens"] == 8, answer.usage_metadata
assert answer.response_metadata["done_reason"] == "stop", answer

# Stream
chunks = list(llm.stream("What is the capital of Italy?"))
assert "".join(chunk.text for chunk in chunks) == "The capital of Italy is Rome.", chunks
assert len(chunks) > 4, chunks


# Tools, and what they return
@tool
def get_weather(city: str) -> str:
    """Get the weather of a city"""
    return "17 degrees and rain"


llm_with_tools = llm.bind_tools([get_weather])
messages = [HumanMessage("What is the weather in Paris?")]
answer = llm_with_tools.invoke(messages)
[call] = answer.tool_calls
assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"}), answer
result = get_weather.invoke(call)
assert isinstance(result, ToolMessage), result
answer = llm_with_tools.invoke([*messages, answer, result, HumanMessage("Answer in one sentence.")])
assert "17" in answer.text, answer


# JSON schema
class Person(BaseModel):
    """Information about a person."""

    name: str = Field(description="The name of the person")
    age: int = Field(description="The age of the person in years")


structured = llm.with_structured_output(Person)
person = structured.invoke("Marit Olsen is 34 years old and keeps a lighthouse.")
assert person == Person(name="Marit Olsen", age=34), person

# Vision
image = base64.b64encode(Path("models/demo/samples/red_circle.png").read_bytes()).decode()
message = HumanMessage(
    [
        {"type": "text", "text": "What objects are in this image?"},
        {"type": "image", "base64": image, "mime_type": "image/png"},
    ]
)
answer = ChatOllama(model="simpleton-demo", **greedy).invoke([message])
assert answer.text == "A red circle.", answer

# Generate
text = OllamaLLM(model="qwen2.5-coder:0.5b", **greedy).invoke(question)
assert text == "The capital of France is Paris.", text

# Embeddings
embeddings = OllamaEmbeddings(model="all-minilm")
vectors = embeddings.embed_documents(["The harbor lies in fog.", "Python is a programming language."])
query = embeddings.embed_query("Which language can one write programs in?")
near = [sum(a * b for a, b in zip(query, vector)) for vector in vectors]
assert len(query) == 384 and near[1] > near[0], near

# Errors
for status, fields in [
    (401, {"client_kwargs": {"headers": {"Authorization": "Bearer wrong"}}}),
    (404, {"model": "llama3.2"}),
    (400, {"temperature": 3}),
]:
    try:
        ChatOllama(**{"model": "qwen2.5-coder:0.5b", **fields}).invoke(question)
        raise AssertionError(f"there was no error {status}")
    except ollama.ResponseError as error:
        assert error.status_code == status, error

# A stream that is left
stream = llm.bind(options={**greedy, "num_predict": 4000}).stream("Count from 1 to 1000, one number on each line.")
next(stream)
stream.close()

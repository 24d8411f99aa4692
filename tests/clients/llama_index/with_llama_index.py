"""LlamaIndex's OpenAILike and OpenAILikeEmbedding. Their settings are the base URL and the key."""

import os
from pathlib import Path

import openai
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

server = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"]}
llm = OpenAILike(
    model="qwen2.5-coder:0.5b",
    is_chat_model=True,
    is_function_calling_model=True,
    should_use_structured_outputs=True,
    context_window=32768,
    temperature=0,
    max_tokens=60,
    **server,
)
question = ChatMessage(role="user", content="What is the capital of France?")

# Chat
answer = llm.chat([question])
assert answer.message.content == "The capital of France is Paris.", answer
assert str(llm.complete("What is the capital of France?")) == "The capital of France is Paris."

# Stream
italy = ChatMessage(role="user", content="What is the capital of Italy?")
parts = [part.delta for part in llm.stream_chat([italy])]
assert "".join(parts) == "The capital of Italy is Rome." and len(parts) > 4, parts


# Tools, and what they return
def get_weather(city: str) -> str:
    """Get the weather of a city"""
    return "17 degrees and rain"


weather = FunctionTool.from_defaults(fn=get_weather)
answer = llm.predict_and_call([weather], user_msg="What is the weather in Paris?")
assert answer.response == "17 degrees and rain", answer
asked = ChatMessage(role="user", content="What is the weather in Paris?")
answer = llm.chat_with_tools([weather], chat_history=[asked])
[call] = llm.get_tool_calls_from_response(answer)
result = ChatMessage(
    role="tool", content=str(weather(**call.tool_kwargs)), additional_kwargs={"tool_call_id": call.tool_id}
)
ask = ChatMessage(role="user", content="Answer in one sentence.")
answer = llm.chat_with_tools([weather], chat_history=[asked, answer.message, result, ask])
assert "17" in answer.message.content, answer


# JSON schema
class Person(BaseModel):
    """Information about a person."""

    name: str
    age: int


structured = llm.as_structured_llm(Person)
person = structured.complete("Marit Olsen is 34 years old and keeps a lighthouse.").raw
assert person == Person(name="Marit Olsen", age=34), person

# Vision
image = ImageBlock(image=Path("models/demo/samples/red_circle.png").read_bytes(), image_mimetype="image/png")
eyes = OpenAILike(model="simpleton-demo", is_chat_model=True, temperature=0, **server)
message = ChatMessage(role="user", blocks=[TextBlock(text="What objects are in this image?"), image])
assert eyes.chat([message]).message.content == "A red circle."

# Embeddings, and answers from documents
embed_model = OpenAILikeEmbedding(model_name="all-minilm", **server)
documents = [
    Document(text="The lighthouse of Sandhavn was built in 1887."),
    Document(text="Bread is baked of flour, water, salt and yeast."),
]
index = VectorStoreIndex.from_documents(documents, embed_model=embed_model)
answer = index.as_query_engine(llm=llm, similarity_top_k=1).query("When was the lighthouse of Sandhavn built?")
assert "1887" in str(answer), answer

# Errors
try:
    OpenAILike(model="gpt-4o", is_chat_model=True, **server).chat([question])
    raise AssertionError("there was no error")
except openai.NotFoundError as error:
    assert "gpt-4o" in str(error), error

# A stream that is left
numbers = ChatMessage(role="user", content="Count from 1 to 1000, one number on each line.")
stream = llm.stream_chat([numbers], max_tokens=4000)
next(stream)
stream.close()

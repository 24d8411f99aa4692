"""The command `llm`. Its settings are the model's entry in extra-openai-models.yaml and the key."""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ["LLM_USER_PATH"] = os.environ["HOME"]
base_url = os.environ["OPENAI_BASE_URL"]
Path.home().joinpath("extra-openai-models.yaml").write_text(f"""
- model_id: coder
  model_name: qwen2.5-coder:0.5b
  api_base: {base_url}
  api_key_name: simpleton
  supports_tools: true
  supports_schema: true
- model_id: eyes
  model_name: simpleton-demo
  api_base: {base_url}
  api_key_name: simpleton
  vision: true
- model_id: unknown
  model_name: gpt-4o
  api_base: {base_url}
  api_key_name: simpleton
""")


def llm(*arguments, **options):
    command = [Path(sys.executable).parent / "llm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def answer(*arguments):
    done = llm(*arguments, "-o", "temperature", "0", "-o", "max_tokens", "60")
    assert done.returncode == 0, done
    return done.stdout.strip()


# The key
assert llm("keys", "set", "simpleton", "--value", os.environ["OPENAI_API_KEY"]).returncode == 0

# Stream, and chat in one piece
capital = "What is the capital of France?"
assert answer("-m", "coder", capital) == "The capital of France is Paris."
assert answer("-m", "coder", "--no-stream", capital) == "The capital of France is Paris."

# A tool, and what it returns: the command calls it and asks on, which this model answers with the same call again.
tool = """
def get_weather(city: str):
    "Get the weather of a city"
    return "17 degrees and rain"
"""
asked = ("-m", "coder", "--cl", "2", "--functions", tool, "--td", "What is the weather in Paris?")
done = llm(*asked, "-o", "temperature", "0", "-o", "max_tokens", "60")
assert "17 degrees and rain" in done.stderr and "Error code" not in done.stderr, done

# JSON schema
person = answer("-m", "coder", "--schema", "name, age int", "Marit Olsen is 34 years old and keeps a lighthouse.")
assert json.loads(person) == {"name": "Marit Olsen", "age": 34}, person

# Vision
circle = ("-a", "models/demo/samples/red_circle.png")
assert answer("-m", "eyes", *circle, "What objects are in this image?") == "A red circle."

# An endpoint that is not configured
endpoint = ("openai", "endpoint", base_url, "--key", "simpleton")
assert "qwen2.5-coder:0.5b" in llm(*endpoint, "--models").stdout
assert answer(*endpoint, capital, "-m", "qwen2.5-coder:0.5b") == "The capital of France is Paris."

# Errors
done = llm("-m", "unknown", capital)
assert done.returncode != 0 and "gpt-4o" in done.stderr, done
done = llm("-m", "coder", "--key", "wrong", capital)
assert done.returncode != 0 and "API key" in done.stderr, done

# A stream that is left
numbers = ["Count from 1 to 1000, one number on each line.", "-o", "temperature", "0", "-o", "max_tokens", "4000"]
command = [Path(sys.executable).parent / "llm", "-m", "coder", *numbers]
with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
    assert process.stdout.read(1)
    process.terminate()

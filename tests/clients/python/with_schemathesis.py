"""Schemathesis: whatever is sent, no request makes the server fail, and the document has the status and the schema of
each answer. Its settings are OPENAI_BASE_URL and OPENAI_API_KEY."""

import json
import os
import tempfile
from pathlib import Path

import schemathesis
from schemathesis.cli import schemathesis as command

address = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")


# As in OpenAI's own document, the schema of a stream is that of the data of an event.
@schemathesis.deserializer("text/event-stream")
def events(_context, response):
    lines = [event.splitlines() for event in response.content.decode().split("\n\n")]
    fields = [dict(line.split(": ", 1) for line in event if line) for event in lines]
    # A failure in a stream is an event with an error, and a comment has no data.
    data = [event["data"] for event in fields if event.get("event") != "error" and "data" in event]
    return [json.loads(text) for text in data if text != "[DONE]"]


checks = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
options = {
    "--header": f"X-API-Key: {os.environ['OPENAI_API_KEY']}",
    "--checks": ",".join(checks),
    "--phases": "examples,fuzzing",
    "--max-examples": "4",
    "--seed": "1",
    "--generation-database": "none",
    "--request-timeout": "60",
}
# Downloads from other servers, and a stream that never ends.
excluded = ["/models/pull", "/api/pull", "/analytics/live"]
arguments = [argument for option in options.items() for argument in option]
arguments += [argument for path in excluded for argument in ("--exclude-path", path)]
settings = Path(__file__).with_name("schemathesis.toml").resolve()
# It leaves files in the current directory.
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    command(["--config-file", str(settings), "run", f"{address}/openapi.json", *arguments])

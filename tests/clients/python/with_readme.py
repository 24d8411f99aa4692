# The README's example, as it is printed but for the address.

import contextlib
import io
import os
import re
from pathlib import Path

[example] = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(), re.DOTALL | re.MULTILINE)
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    exec(example.replace("http://localhost:8000", os.environ["OLLAMA_HOST"]), {})
answers = printed.getvalue().splitlines()
assert len(answers) >= 3 and printed.getvalue().count("Paris") >= 3, answers

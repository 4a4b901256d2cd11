# SPDX-License-Identifier: MIT
"""Shell scripts parse, and stop at the first error."""
import re

from tree import succeeds, tool

SHELL = re.compile(r"#!.*\b(ba)?sh\b")
STRICT = re.compile(r"^set -(eu|euo pipefail)$", re.M)


def check(tree):
    bash = tool("bash")
    for path in tree.paths():
        name = path.split("/")[-1]
        if "." in name and not name.endswith(".sh"):
            continue
        text = tree.text(path)
        script = SHELL.match(text)
        if not script and not name.endswith(".sh"):
            continue
        good, said = succeeds([bash, "-n", str(tree.root / path)])
        if not good:
            yield f"{path}: {said.strip()}"
        if script and not STRICT.search(text):
            yield f"{path}:1: no line 'set -eu' or 'set -euo pipefail'"


GOOD = {
    "tools/run": "#!/bin/bash\nset -euo pipefail\necho\n",
    "tools/lib.sh": "f() {\n\techo\n}\n",
    "tools/words.txt": "if (((\n",
}
BAD = [
    ({"tools/b": "#!/bin/bash\nset -eu\nif true; then\n"}, "tools/b: "),
    ({"tools/b.sh": "f() {\n"}, "tools/b.sh: "),
    ({".ci/run": "#!/bin/bash\nset -eu\necho $((1 +\n"}, ".ci/run: "),
    ({"tools/b": "#!/usr/bin/env bash\necho\n"}, "tools/b:1: no line 'set"),
]

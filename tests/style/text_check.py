# SPDX-License-Identifier: MIT
"""Every text file: the licence's line first, nothing left over, no trailing blanks."""
import re

from tree import C_FILES

NAMES = ("CMakeLists.txt", ".clang-format", ".gitignore", "packages.txt")
HASH = (".sh", ".py", ".cmake", *NAMES)
OTHER = (".md", ".json", ".in", ".txt", ".scd", ".supp", "LICENSE")
SPDX_C = "/* SPDX-License-Identifier: MIT */"
SPDX_CC = "// SPDX-License-Identifier: MIT"  # also allowed outside headers
SPDX_HASH = "# SPDX-License-Identifier: MIT"

# In two pieces, so that this file keeps its own rule.
LEFT_OVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
FOREIGN = re.compile(r"/wo" r"rk/(main|shared)\b|https?://[^\s/]*\b(registry|mirror|proxy|nexus)\b",
                     re.I)


def is_script(path, text):
    return text.startswith("#!") and not path.endswith((*C_FILES, *OTHER))


def first_line_of(path, text):
    """What the licence's line must be, and the line that should be it."""
    lines = (text + "\n\n").split("\n")
    if path.endswith(C_FILES):
        return SPDX_C, lines[0]
    if path.endswith(HASH) or is_script(path, text):
        return SPDX_HASH, lines[1 if lines[0].startswith("#!") else 0]
    return None, None


def check(tree):
    for path in tree.paths():
        name = path.split("/")[-1]
        if not (path.endswith((*C_FILES, *HASH, *OTHER)) or "." not in name or path == ".ci/run"):
            continue
        text = tree.text(path)
        if "\0" in text:
            continue
        wanted, found = first_line_of(path, text)
        if found == SPDX_CC and path.endswith((".c", ".cc")):
            wanted = found
        if wanted and found != wanted:
            yield f"{path}:1: the first line is not {wanted}"
        if text and not text.endswith("\n"):
            yield f"{path}:{text.count(chr(10)) + 1}: no end of line at the end"
        for number, line in enumerate(text.split("\n"), 1):
            if line.endswith((" ", "\t", "\r")):
                yield f"{path}:{number}: blanks at the end of the line"
            if LEFT_OVER.search(line):
                yield f"{path}:{number}: unfinished: {LEFT_OVER.search(line).group()}"
            if FOREIGN.search(line):
                yield f"{path}:{number}: names the place it was written at: {FOREIGN.search(line).group()}"


GOOD = {
    "core/a.c": SPDX_C + "\nint x;\n",
    "core/b.c": SPDX_CC + "\n",
    "tools/run": "#!/bin/bash\n" + SPDX_HASH + "\n",
    "CMakeLists.txt": SPDX_HASH + "\n",
    "README.md": "# Refstorm\n",
    "LICENSE": "MIT\n",
    "build/x.c": "generated \n",
}
BAD = [
    ({"core/b.c": "int x;\n"}, "b.c:1: the first line is not /*"),
    ({"core/b.h": SPDX_CC + "\n"}, "b.h:1: the first line"),
    ({"core/b.h": "\n" + SPDX_C + "\n"}, "b.h:1: the first line"),
    ({"tools/b": "#!/bin/sh\necho\n"}, "tools/b:1: the first line is not #"),
    ({"tests/b.py": "import re\n"}, "b.py:1: the first line is not #"),
    ({"core/CMakeLists.txt": "project(x)\n"}, "core/CMakeLists.txt:1: the first line"),
    ({"core/b.c": SPDX_C + "\nint x; \n"}, "b.c:2: blanks at the end"),
    ({"docs/b.md": "text\t\n"}, "b.md:1: blanks at the end"),
    ({"core/b.c": SPDX_C + "\nint x;"}, "b.c:2: no end of line"),
    ({"core/b.c": SPDX_C + "\n/* TO" "DO: more */\n"}, "b.c:2: unfinished"),
    ({"docs/b.md": "FIX" "ME\n"}, "b.md:1: unfinished"),
    ({".ci/run": "#!/bin/bash\n" + SPDX_HASH + "\ncd /wo" "rk/main\n"}, ".ci/run:3: names the place"),
    ({"docs/b.md": "http://pip.mir" "ror.example/x\n"}, "b.md:1: names the place"),
]

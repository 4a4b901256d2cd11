# SPDX-License-Identifier: MIT
"""Functions of at most 70 lines, from brace to brace, and files of at most 600."""
from tree import C_FILES, code_only

FUNCTION_MAX = 70
FILE_MAX = 600
FILES = C_FILES + (".sh", ".py", ".cmake", "CMakeLists.txt")


def functions(lines):
    """(first, last) of each body, from 0. The style puts both braces in column 0."""
    first = None
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            first = number
        elif line.startswith("}") and first is not None:
            yield first, number
            first = None


def check(tree):
    for path in tree.paths(suffixes=FILES):
        text = tree.text(path)
        lines = text.split("\n")
        if text.count("\n") > FILE_MAX:
            yield f"{path}:{FILE_MAX}: {text.count(chr(10))} lines, at most {FILE_MAX}"
        if not path.endswith(C_FILES):
            continue
        for first, last in functions(code_only(text).split("\n")):
            if last - first + 1 > FUNCTION_MAX:
                yield (f"{path}:{first + 1}: {lines[first - 1].strip()}: a function of "
                       f"{last - first + 1} lines, at most {FUNCTION_MAX}")


def function_of(lines):
    return "int f(void)\n{\n" + "\tg();\n" * (lines - 2) + "}\n"


GOOD = {
    "core/base/a.c": function_of(FUNCTION_MAX) + "\n" + function_of(FUNCTION_MAX),
    "core/base/b.c": "\n" * FILE_MAX,
}
BAD = [
    ({"core/base/c.c": "\n" + function_of(FUNCTION_MAX + 1)}, "c.c:3: int f(void): a function of 71"),
    ({"bench/c.cc": function_of(20) + function_of(300)}, "a function of 300"),
    ({"cli/c.h": "\n" * (FILE_MAX + 1)}, "601 lines"),
    ({"tools/c.sh": "\n" * (FILE_MAX + 1)}, "601 lines"),
]

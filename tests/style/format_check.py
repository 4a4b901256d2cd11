# SPDX-License-Identifier: MIT
"""All C and C++ is as clang-format 14 would leave it with .clang-format."""
import pathlib

from tree import C_FILES, succeeds, tool

STYLE = pathlib.Path(__file__).resolve().parents[2] / ".clang-format"


def check(tree):
    name = tool("clang-format-14")
    for path in tree.paths(suffixes=C_FILES):
        tree.read += 1
        good, said = succeeds([name, "--dry-run", "-Werror", f"--style=file:{STYLE}",
                               "--ferror-limit=1", str(tree.root / path)])
        if not good:
            first = said.strip().split("\n")[0].removeprefix(f"{tree.root}/")
            yield f"{path}: {first}; put right by: {name} -i {path}"


GOOD = {"core/base/a.c": "int f(int x)\n{\n\tif (x)\n\t\treturn 1;\n\treturn 0;\n}\n"}
BAD = [
    ({"core/base/b.c": "int f(int x)\n{\n    return x;\n}\n"}, "core/base/b.c"),
    ({"core/base/b.h": "int f(int x) {\n\treturn x;\n}\n"}, "core/base/b.h"),
    ({"bench/b.cc": "int  x;\n"}, "bench/b.cc"),
    ({"core/base/b.c": "int f(int a);\n" "int " + "x" * 60 + " = " + "y" * 30 + " + 10000000;\n"},
     "core/base/b.c"),
]

# SPDX-License-Identifier: MIT
"""Atomics go through the vocabulary: only core/base/order.h names C's own."""
import re

from tree import C_FILES, CODE, code_only

NAMES = re.compile(r"\b(atomic_\w+|memory_order\w*|__atomic_\w+|__sync_\w+|_Atomic|"
                   r"std::atomic\w*)|<(stdatomic\.h|atomic)>")
MAY = "core/base/order.h"


def check(tree):
    for path in tree.paths(set(CODE) | {"tests"}, C_FILES):
        text = code_only(tree.text(path))
        if path == MAY:
            continue
        for match in NAMES.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match.group()}: use {MAY}"


GOOD = {
    MAY: "#include <stdatomic.h>\n#define order_load_relaxed(o) "
         "atomic_load_explicit(o, memory_order_relaxed)\n",
    "core/base/a.c": "/* atomic_load would be wrong. */\nint x = order_load_relaxed(&y);\n"
                     'const char *s = "__sync_synchronize";\n',
}
BAD = [
    ({"core/base/b.c": "int x = atomic_load(&y);\n"}, "b.c:1: atomic_load"),
    ({"bench/b.cc": "\n#include <atomic>\n"}, "b.cc:2: <atomic>"),
    ({"stress/b.c": "void f(void) { __sync_synchronize(); }\n"}, "__sync_synchronize"),
    ({"cli/b.c": "int f = __atomic_load_n(&y, 0);\n"}, "__atomic_load_n"),
    ({"workloads/b.h": "_Atomic int x;\n"}, "_Atomic"),
    ({"tests/b_test.c": "int x = memory_order_acquire;\n"}, "memory_order_acquire"),
]

# SPDX-License-Identifier: MIT
"""Each header compiles alone, twice in one file, as C and as C++."""
import concurrent.futures

from tree import CODE, succeeds, tool

WARN = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
PUBLIC = [["gcc", "-xc", "-std=c17", "-Wpedantic"], ["g++", "-xc++", "-std=c++11", "-Wpedantic"]]
INTERNAL = [["gcc", "-xc", "-std=gnu17"], ["g++", "-xc++", "-std=c++23"]]


def compile_alone(root, path, command):
    name = path.removeprefix("include/")
    text = f'#include "{name}"\n#include "{name}"\nextern int not_empty;\n'
    good, said = succeeds([*command, *WARN, f"-I{root}", f"-I{root}/include", "-"], text)
    if good:
        return None
    return f"{path}:1: does not compile alone with {' '.join(command)}:\n{said}"


def check(tree):
    for command in PUBLIC + INTERNAL:
        tool(command[0])
    jobs = []
    for path in tree.paths(set(CODE) | {"tests"}, (".h",)):
        tree.read += 1
        for command in PUBLIC if path.startswith("include/") else INTERNAL:
            jobs.append((tree.root, path, command))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for said in pool.map(lambda job: compile_alone(*job), jobs):
            if said:
                yield said


GUARDED = "#ifndef A_H\n#define A_H\n#include <stdint.h>\nstruct a { uint32_t x; };\n#endif\n"
GOOD = {
    "include/refstorm/a.h": GUARDED,
    "core/base/b.h": "#ifndef B_H\n#define B_H\n#include \"refstorm/a.h\"\nstruct b { struct a a; };\n"
                     "#endif\n",
}
BAD = [
    ({"core/base/c.h": "extern uint32_t x;\n"}, "core/base/c.h:1: does not compile alone with gcc"),
    ({"core/base/c.h": "struct c { int x; };\n"}, "does not compile alone with gcc"),
    ({"core/base/c.h": "extern int class;\n"}, "does not compile alone with g++"),
    ({"include/refstorm/c.h": "extern long long x[];\nstatic int f(int v)\n{\n\treturn ({ v; });\n}\n"},
     "c.h:1: does not compile alone with gcc -xc -std=c17"),
    ({"include/refstorm/c.h": "#ifndef C_H\n#define C_H\nstruct c { char x[]; };\n#endif\n"},
     "does not compile alone with g++ -xc++ -std=c++11"),
]

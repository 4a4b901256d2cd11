# SPDX-License-Identifier: MIT
"""Includes point one way, and only one folder knows liburcu.

Includes in quotes name a file of the tree by its path from the root, or from
include/. The tests may include anything.
"""
import re

from tree import C_FILES

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)

CORE = {
    "base": {"base"},
    "disk": {"base", "disk"},
    "delayed": {"base", "disk", "treemod", "delayed"},
    "treemod": {"base", "disk", "treemod"},
    "forest": {"base", "disk", "delayed", "treemod", "forest"},
    "qgroup": {"base", "disk", "delayed", "treemod", "forest", "qgroup"},
}
TOP = {
    "include": {"include"},
    "core": {"include", "core"},
    "workloads": {"include", "core", "workloads"},
    "bench": {"include", "core", "workloads", "bench"},
    "stress": {"include", "core", "workloads", "stress"},
    "cli": {"include", "core", "workloads", "bench", "stress", "cli"},
}
# The oracle checks the algorithms of core, so it may not use them: it has the
# basics and the reading of raw nodes.
ORACLE = "stress/oracle/"
ORACLE_MAY = re.compile(
    r"stress/oracle/|core/base/|include/refstorm/(error|export|image)\.h$|"
    r"core/disk/(format|csum|super|device|chunk|node|image|reader)\.h$|"
    # What it is told by an observer, what is said of groups, and the structures that it reads the
    # state of a forest from.
    r"include/refstorm/(forest|quota|record)\.h$|"
    r"core/forest/(forest_impl|buffer|extent_index|space|root)\.h$")
# Microbenchmarks have their result counted again; they are no part of the program.
COUNTED_AGAIN = "bench/forest_work.c"
URCU_MAY = ("core/base/rcu.c", "core/base/rcu.h")


def target_of(tree, name):
    for path in (name, "include/" + name):
        if tree.exists(path):
            return path
    return None


def forbidden(path, target):
    """Why `path` may not include `target`, or None."""
    if path.startswith(ORACLE) and not ORACLE_MAY.match(target):
        return "the oracle shares nothing with what it checks"
    if path == COUNTED_AGAIN and target.startswith(ORACLE):
        return None
    mine, theirs = path.split("/"), target.split("/")
    if theirs[0] not in TOP[mine[0]]:
        return f"{mine[0]} may not include {theirs[0]}"
    if mine[0] == theirs[0] == "core" and theirs[1] not in CORE[mine[1]]:
        return f"core/{mine[1]} may not include core/{theirs[1]}"
    return None


def check(tree):
    for path in tree.paths(set(TOP) | {"tests"}, C_FILES):
        text = tree.text(path)
        parts = path.split("/")
        if parts[0] == "core" and (len(parts) < 3 or parts[1] not in CORE):
            yield f"{path}:1: not in one of the folders of core ({', '.join(CORE)})"
            continue
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            name = match.group(2)
            if name.startswith("urcu") and path not in URCU_MAY:
                yield f"{path}:{line}: {name}: only core/base/rcu knows liburcu"
            target = target_of(tree, name)
            if match.group(1) == "<" and (target is None or "/" not in name):
                continue
            if target is None:
                yield f"{path}:{line}: {name}: no such file, by its path from the root or include/"
            elif parts[0] != "tests" and forbidden(path, target):
                yield f"{path}:{line}: {name}: {forbidden(path, target)}"


GOOD = {
    "include/refstorm/a.h": "#include <stdint.h>\n",
    "core/base/b.h": '#include "refstorm/a.h"\n',
    "core/base/rcu.c": "#include <urcu/urcu-memb.h>\n",
    "core/disk/node.h": '#include "core/base/b.h"\n',
    "core/disk/tree.h": '#include "core/disk/node.h"\n',
    "core/treemod/log.h": "\n",
    "core/delayed/head.h": '#include "core/treemod/log.h"\n',
    "core/qgroup/ledger.c": '#include "core/disk/tree.h"\n#include "core/treemod/log.h"\n',
    "workloads/w.h": "\n",
    "bench/sweep.h": '#include "workloads/w.h"\n',
    "stress/oracle/o.h": '#include "core/disk/node.h"\n',
    "cli/main.c": '#include "bench/sweep.h"\n#include "stress/oracle/o.h"\n',
    "tests/x_test.c": '#include "core/disk/tree.h"\n',
}
BAD = [
    ({"include/refstorm/a.h": '#include "core/base/b.h"\n'}, "include may not include core"),
    ({"core/base/b.h": '#include "core/disk/node.h"\n'}, "core/base may not include core/disk"),
    ({"core/disk/d.c": '#include "core/treemod/log.h"\n'}, "may not include core/treemod"),
    ({"core/treemod/d.c": '#  include "core/delayed/head.h"\n'}, "may not include core/delayed"),
    ({"core/disk/d.c": '#include <workloads/w.h>\n'}, "core may not include workloads"),
    ({"bench/b.cc": '#include "stress/oracle/o.h"\n'}, "bench may not include stress"),
    ({"stress/oracle/p.c": '#include "core/disk/tree.h"\n'}, "the oracle shares nothing"),
    ({"core/disk/d.c": "#include <urcu/wfcqueue.h>\n"}, "only core/base/rcu knows liburcu"),
    ({"core/disk/d.c": '#include "node.h"\n'}, "no such file"),
    ({"core/other/d.c": "\n"}, "not in one of the folders of core"),
]

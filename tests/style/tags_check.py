# SPDX-License-Identifier: MIT
"""Each ordered atomic access has a comment with a tag, and each tag has both ends.

A use is a call of order_..._acquire, _release, _acq_rel or _seq_cst, or of
rcu_pointer_publish or rcu_pointer_observe. Its tags, NAME.event, stand in the
comment on its line, or in the nearest one that ends in the 6 lines before. A tag must stand at
one releasing and at one acquiring use, over the whole tree. A use of seq_cst
also names, in that comment, the store and the load that need it.
"""
import re

from tree import C_FILES, CODE, code_only, comments_only

USE = re.compile(r"\b(order_\w+_(acquire|release|acq_rel|seq_cst)|"
                 r"rcu_pointer_(publish|observe))[ \t]*\(")
TAG = re.compile(r"\b[A-Z][A-Z0-9_]*\.[a-z][a-z0-9_-]*")
REACH = 6
# Where these are defined, not used.
DEFINES = ("core/base/order.h", "core/base/rcu.h")
RCU_DEFINITION = re.compile(r"^\w.*\brcu_pointer_(publish|observe)\(order_ptr\b")


def ends_of(name):
    """Which ends of a pairing the use is: releases, acquires."""
    if name.endswith(("_acq_rel", "_seq_cst")):
        return "_load_" not in name, "_store_" not in name
    releases = name.endswith(("_release", "publish"))
    return releases, not releases


def comment_of(comments, line):
    """The comment that belongs to the code in `line` (from 0): the nearest that has a tag."""
    if TAG.search(comments[line]):
        return comments[line]
    last = line - 1
    while last >= max(0, line - REACH):
        if comments[last].strip():
            first = last
            while first and comments[first - 1].strip() and "/*" not in comments[first]:
                first -= 1
            block = "\n".join(comments[first:last + 1])
            if TAG.search(block):
                return block
            last = first
        last -= 1
    return ""


def uses(tree):
    for path in tree.paths(set(CODE), C_FILES):
        if path in DEFINES:
            continue
        text = tree.text(path)
        code = code_only(text)
        lines = code.split("\n")
        comments = comments_only(text).split("\n")
        for match in USE.finditer(code):
            line = code.count("\n", 0, match.start())
            if RCU_DEFINITION.match(lines[line]):
                continue
            yield path, line, match.group(1), comment_of(comments, line)


def check(tree):
    tags = {}
    for path, line, name, comment in uses(tree):
        found = set(TAG.findall(comment))
        place = f"{path}:{line + 1}"
        if not found:
            yield f"{place}: {name} has no comment with a tag in the {REACH} lines before it"
        if name.endswith("seq_cst") and not (re.search(r"\bstores?\b", comment) and
                                             re.search(r"\bloads?\b", comment)):
            yield f"{place}: {name} does not name the store and the load that need it"
        releases, acquires = ends_of(name)
        for tag in found:
            seen = tags.setdefault(tag, [place, False, False])
            seen[1] |= releases
            seen[2] |= acquires
    for tag, (place, released, acquired) in sorted(tags.items()):
        if not released:
            yield f"{place}: {tag} has no releasing end"
        if not acquired:
            yield f"{place}: {tag} has no acquiring end"


GOOD = {
    "core/base/a.c": "/* Q.publish: the item. */\norder_store_release(&q, item);\n"
                     "\tx = y; /* Not a tag: a.b */\n",
    "stress/b.c": "/*\n * Sees what the producer wrote:\n * Q.publish.\n */\nif (x)\n"
                  "\titem = order_load_acquire(&q);\n"
                  "n = order_fetch_sub_acq_rel(&n, 1); /* REF.last: the last one frees. */\n",
    "core/base/c.c": "/* FLAG.up: this store and the load of `busy` may not change places. */\n"
                     "order_store_seq_cst(&flag, 1);\n"
                     "/* FLAG.up: the load that the store of `flag` is paired with. */\n"
                     "x = order_load_seq_cst(&flag);\n",
    "core/qgroup/d.c": "/* TABLE.grow */\nrcu_pointer_publish(&t, n);\n\n\n\n\n\n\n"
                       "t = rcu_pointer_observe(&t); /* TABLE.grow */\n",
    "core/base/rcu.c": "void *rcu_pointer_observe(order_ptr *pointer)\n",
}
BAD = [
    ({"core/base/e.c": "order_store_release(&q, item);\n"}, "e.c:1: order_store_release has no"),
    ({"cli/e.c": "/* Q.publish */\n\n\n\n\n\n\nx = order_load_acquire(&q);\n"}, "e.c:8: order_load"),
    ({"core/base/e.c": 'f("Q.publish");\nx = order_load_acquire(&q);\n'}, "e.c:2: order_load_acquire"),
    ({"bench/e.cc": "/* R.one */\norder_store_release(&q, item);\n"}, "R.one has no acquiring end"),
    ({"bench/e.c": "/* R.one */\norder_load_acquire(&q);\n"}, "R.one has no releasing end"),
    ({"workloads/e.c": "rcu_pointer_observe(&q);\n"}, "rcu_pointer_observe has no comment"),
    ({"core/qgroup/d.c": "/* T.x */\nrcu_pointer_publish(&t, n);\n"}, "T.x has no acquiring end"),
    ({"core/base/e.c": "/* REF.last */\nx = order_exchange_seq_cst(&q, 1);\n"}, "does not name the store"),
]

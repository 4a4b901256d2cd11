#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Usage: style.py CHECK DIR | style.py CHECK --selftest

Runs one style check over the sources in DIR and prints what breaks the rule.
With --selftest it runs over small trees instead: one that keeps the rule, and
for each kind of violation one that has it, which the check must report.

Exit: 0 all well, 1 violations (or a self-test that failed), 2 wrong arguments,
6 nothing was checked, 77 a tool that the check needs is not installed.

A check is a module NAME_check.py with
  check(tree)  yields violations as text, "path:line: what";
  GOOD         files {path: text} that keep the rule;
  BAD          a list of (files laid over GOOD, a part of the violation expected).
"""
import importlib
import pathlib
import sys
import tempfile

from tree import ToolMissing, Tree


def run(module, root):
    tree = Tree(root)
    violations = list(module.check(tree))
    for violation in violations:
        print(violation)
    print(f"{tree.read} files, {len(violations)} violations")
    if violations:
        return 1
    return 0 if tree.read else 6


def violations_of(module, files):
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        tree = Tree(root)
        found = list(module.check(tree))
        return found, tree.read


def selftest(module):
    failed = 0
    found, read = violations_of(module, module.GOOD)
    if found or not read:
        print(f"the good tree: {read} files read, reported: {found}")
        failed += 1
    for files, expected in module.BAD:
        found, _ = violations_of(module, {**module.GOOD, **files})
        if not any(expected in line for line in found):
            print(f"not caught: {expected!r} in {sorted(files)}; reported: {found}")
            failed += 1
    print(f"{len(module.BAD)} planted violations, {failed} failures")
    return 1 if failed or not module.BAD else 0


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    module = importlib.import_module(arguments[0] + "_check")
    try:
        if arguments[1] == "--selftest":
            return selftest(module)
        return run(module, arguments[1])
    except ToolMissing as missing:
        print(f"skipped: {missing}")
        return 77


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

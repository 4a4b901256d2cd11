# SPDX-License-Identifier: MIT
"""The files of a source tree, and C text with or without its comments."""
import os
import pathlib
import re
import shutil
import subprocess

C_FILES = (".c", ".h", ".cc")
CODE = ("include", "core", "workloads", "bench", "stress", "cli")


class ToolMissing(Exception):
    pass


def tool(name):
    if not shutil.which(name):
        raise ToolMissing(f"{name} is not installed")
    return name


def succeeds(command, text=None):
    """Whether the command exits with 0, and what it said."""
    done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0, done.stdout


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.read = 0

    def paths(self, under=None, suffixes=None):
        """Paths relative to the root, sorted. Not: builds, results, hidden folders but .ci."""
        found = []
        for folder, folders, files in os.walk(self.root):
            here = pathlib.Path(folder).relative_to(self.root)
            folders[:] = [f for f in folders if self._enter(here, f)]
            found += [(here / f).as_posix() for f in files]
        for path in sorted(found):
            if under and path.split("/")[0] not in under:
                continue
            if suffixes and not path.endswith(suffixes):
                continue
            yield path

    @staticmethod
    def _enter(here, folder):
        if folder == ".ci":
            return True
        if folder.startswith(".") or folder == "__pycache__":
            return False
        if here == pathlib.Path("."):
            return not folder.startswith("build")
        return here != pathlib.Path("results")

    def text(self, path):
        self.read += 1
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def exists(self, path):
        return (self.root / path).is_file()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text):
    """Spaces in place of everything but the ends of lines."""
    return re.sub(r"[^\n]", " ", text)


def code_only(text):
    """The C text with comments, and what stands in quotes, blanked."""
    return TOKEN.sub(lambda m: blank(m.group()), text)


def comments_only(text):
    """The C text with everything blanked that is not in a comment."""
    out = []
    at = 0
    for match in TOKEN.finditer(text):
        out.append(blank(text[at:match.start()]))
        token = match.group()
        out.append(token if token.startswith("/") else blank(token))
        at = match.end()
    out.append(blank(text[at:]))
    return "".join(out)

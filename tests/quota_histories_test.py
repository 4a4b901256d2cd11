#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random histories of quotas on each engine, on one thread and on eight, each compared with a recount
every few lines; a sample of them, and with REFSTORM_ALL=1 all that are said to be equal.

A history that fails is kept as a file, and the command that repeats it is printed. On several threads
it need not fail again: a seed does not replay an interleaving.
"""
import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'support'))
from builds import BUILD, is_sanitized  # noqa: E402

PROGRAM = os.environ['REFSTORM']
SEED = int(os.environ.get('REFSTORM_DATA_SEED') or time.time_ns() % 2**31)
ALL = bool(os.environ.get('REFSTORM_ALL'))
TIMEOUT_S = 120
PROCESSES = 8  # a check mostly waits for a grace period
THREADS = 8
LINES = {0: 600, THREADS: 4000}  # relations of groups change only where all threads wait
# (engine, threads): how many histories by default, with all of them, and under a sanitizer.
HISTORIES = {
    ('ledger', 0): (60, 1000, 12),
    ('ledger', THREADS): (15, 200, 6),
    ('extent', 0): (25, 1000, 12),
    ('extent', THREADS): (15, 200, 6),
}
RECORDS = ('percpu', 'percpu', 'locked', 'hashed')
NODES = ('4k', '16k')
INTERLEAVED = 5
WINDOW = 3 * INTERLEAVED  # changes among which so many subvolumes have one
DONE = re.compile(r'(\d+) operations, \d+ of them failed as they should, (\d+) checks, '
                  r'(\d+) groups compared, ')

# What must be in a sample, or it has not shown what it is to show.
WANTED = (
    'a group in a group', 'a group in a group in a group', 'a group in two groups',
    'a subvolume joins a group', 'a subvolume leaves a group', 'a group leaves a group',
    'a snapshot', 'a snapshot joins groups', 'a snapshot of a snapshot',
    'a source dropped before its snapshot', 'a snapshot dropped before its source',
    'the middle of three dropped', 'all of a family dropped',
    'a clone onto its own root', 'a clone onto another root',
    'quotas off', 'quotas on again', 'a rescan', 'a rescan beside changes',
    'five subvolumes interleaved',
)


class Survey:
    """What a script has in it, read line by line."""

    def __init__(self, text):
        self.seen = collections.Counter()
        self.sources = {}  # of the subvolumes that are there: what they were taken of, or None
        self.family = collections.Counter()  # how many of it are there
        self.first = {}  # of a subvolume's family
        self.serial = {}  # a name may come again: which one it stands for
        self.parents = collections.defaultdict(set)
        self.changed = collections.deque(maxlen=WINDOW)
        self.rescans = False
        self.was_off = False
        for line in text.splitlines():
            if not line.startswith(('#', 'fails')):
                self.take(line.split(' ', 1)[1] if line.startswith('@') else line)

    def take(self, line):
        word, *rest = line.split()
        take = getattr(self, f'take_{word}', None)
        if take:
            take(rest)
        elif word in ('write', 'fallocate', 'punch', 'truncate'):
            self.change(rest[0])

    def change(self, subvol):
        self.changed.append(subvol)
        self.seen['five subvolumes interleaved'] += len(set(self.changed)) >= INTERLEAVED
        self.seen['a rescan beside changes'] += self.rescans

    def add(self, name, source):
        self.serial[name] = (name, sum(self.family.values()), len(self.first))
        one = self.serial[name]
        self.sources[one] = source
        self.first[one] = self.first[source] if source else one
        self.family[self.first[one]] += 1

    def take_subvol(self, rest):
        self.add(rest[0], None)

    def take_snapshot(self, rest):
        if rest[0] == '-r':
            rest = rest[1:]
        source = self.serial[rest[0]]
        self.add(rest[1], source)
        self.seen['a snapshot'] += 1
        self.seen['a snapshot joins groups'] += len(rest) > 2
        self.seen['a snapshot of a snapshot'] += self.sources[source] is not None
        for group in rest[3:]:
            self.parents[rest[1]].add(group)

    def take_delete(self, rest):
        one = self.serial.pop(rest[0])
        source = self.sources[one]
        there = set(self.serial.values())
        has_heirs = any(self.sources[other] == one for other in there)
        self.seen['a source dropped before its snapshot'] += has_heirs
        self.seen['a snapshot dropped before its source'] += source in there
        self.seen['the middle of three dropped'] += has_heirs and source in there
        self.family[self.first[one]] -= 1
        self.seen['all of a family dropped'] += bool(source) and not self.family[self.first[one]]
        self.parents.pop(rest[0], None)

    def take_clone(self, rest):
        same = rest[0] == rest[4]
        self.seen['a clone onto its own root' if same else 'a clone onto another root'] += 1
        self.change(rest[4])

    def take_quota(self, rest):
        off = rest[0] == 'off'
        self.seen['quotas off'] += off
        self.seen['quotas on again'] += self.was_off and not off
        self.was_off |= off
        self.rescans = not off
        self.parents.clear()

    def take_check(self, _rest):
        self.rescans = False

    def take_rescan(self, rest):
        self.rescans = rest[0] == 'start'
        self.seen['a rescan'] += self.rescans

    def take_group(self, rest):
        if rest[0] not in ('assign', 'unassign'):
            return
        _, member, parent = rest
        nested = '/' in member
        if rest[0] == 'unassign':
            self.parents[member].discard(parent)
            self.seen['a group leaves a group' if nested else 'a subvolume leaves a group'] += 1
            return
        self.parents[member].add(parent)
        self.seen['a group in a group' if nested else 'a subvolume joins a group'] += 1
        self.seen['a group in two groups'] += nested and len(self.parents[member]) > 1
        below = any(member in above and '/' in of for of, above in self.parents.items())
        self.seen['a group in a group in a group'] += nested and \
            (below or bool(self.parents[parent]))


class History:
    def __init__(self, engine, threads, seed):
        self.seed = seed
        self.engine = engine
        self.threads = threads
        self.script = ('script', '--seed', str(seed), '--ops', str(LINES[threads]), '--profile', 'quota',
                       '--check', *(('--threads', str(threads)) if threads else ()))
        self.exec = ('exec', '--engine', engine, '--record', RECORDS[seed % len(RECORDS)],
                     '--node-bytes', NODES[seed // len(RECORDS) % len(NODES)])
        self.figures = (0, 0, 0)  # operations, checks, groups compared
        self.seen = collections.Counter()
        self.wrong = None

    def run(self):
        text = subprocess.run([PROGRAM, *self.script], capture_output=True, text=True, check=True,
                              timeout=TIMEOUT_S).stdout
        self.seen = Survey(text).seen
        try:
            done = subprocess.run([PROGRAM, *self.exec, '-'], input=text, capture_output=True,
                                  text=True, check=False, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return self.fail(text, f'no end within {TIMEOUT_S} s')
        figures = DONE.match(done.stdout)
        if done.returncode or done.stderr or not figures:
            return self.fail(text, f'exit status {done.returncode}\n{done.stdout}{done.stderr}')
        self.figures = tuple(map(int, figures.groups()))
        if self.figures[0] != LINES[self.threads] or not all(self.figures):
            return self.fail(text, f'it has looked at nothing: {done.stdout}')
        return self

    def fail(self, text, why):
        path = os.path.join(BUILD, 'tests',
                            f'quota_history-{self.engine}-{self.threads}-{self.seed}.script')
        with open(path, 'w', encoding='utf-8') as script:
            script.write(text)
        self.wrong = (f'seed {self.seed}: {why}\nrefstorm {" ".join(self.exec)} {path}\n'
                      f'made by: refstorm {" ".join(self.script)}')
        return self


class Histories(unittest.TestCase):
    def run_all(self, engine, threads):
        few, many, sanitized = HISTORIES[engine, threads]
        count = many if ALL else sanitized if is_sanitized() else few
        with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
            done = list(pool.map(lambda seed: History(engine, threads, seed).run(),
                                 range(SEED, SEED + count)))
        operations, checks, groups = map(sum, zip(*(one.figures for one in done)))
        print(f'{engine}, {threads or 1} threads: {count} histories from seed {SEED} on, '
              f'{operations} operations, {checks} checks, {groups} groups compared', flush=True)
        wrong = [one.wrong for one in done if one.wrong]
        self.assertEqual(len(wrong), 0, f'of {count} histories:\n' + '\n'.join(wrong[:5]))
        self.assertGreater(groups, 0)
        seen = sum((one.seen for one in done), collections.Counter())
        self.assertEqual([name for name in WANTED if not seen[name]], [])
        self.assertLessEqual(set(seen), set(WANTED))

    def test_ledger(self):
        self.run_all('ledger', 0)

    def test_ledger_threads(self):
        self.run_all('ledger', THREADS)

    def test_extent(self):
        self.run_all('extent', 0)

    def test_extent_threads(self):
        self.run_all('extent', THREADS)


if __name__ == '__main__':
    result = unittest.main(exit=False).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)

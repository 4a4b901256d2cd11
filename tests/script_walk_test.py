#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Walks each operation of the script language, and each ordered pair of them, the second where the
first has been, with all oracles clean after every commit; and the scenarios in tests/scenarios.

A pair is walked with nothing between the two, with a commit, and with a snapshot, on small and on
large tree blocks. A model of three lines a file says which operations must fail, and with what.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import unittest

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 120
PROCESSES = 16  # a check mostly waits for a grace period
SCENARIOS = pathlib.Path('tests/scenarios')
UNIT = 4096
SIZE = 96  # of a file, in units
AROUND = (16, 64)  # what the second operation finds where the first has not been: offset, length
ARENA = (32, 32)  # of the first operation
# Of the second one: over both ends of the first one's, inside it, and the same.
RANGES = {'at its begin': (24, 16), 'at its end': (56, 16), 'inside': (40, 16), 'the same': ARENA}
BETWEEN = ('nothing', 'commit', 'snapshot')
NODES = ('4k', '16k')
# Enough for two levels of small blocks, on both sides of the file that is changed.
FILLER = ''.join(f'write b {name} {at * 2 * UNIT} {UNIT}\n' for name in 'az' for at in range(80))


class Case:
    """Lines, and what is there after them."""

    def __init__(self, title):
        self.title = title
        self.lines = []
        self.checks = 0
        self.failures = 0
        self.subvols = {}  # name: {file: size}
        self.names = 0
        self.main = 'v'  # the subvolume that operations change
        self.made = None  # the last snapshot
        self.victims = {}  # made for a deletion that is to come

    def line(self, text, fails=None):
        self.lines.append(f'fails {fails} {text}' if fails else text)
        self.failures += bool(fails)

    def check(self):
        self.line('commit')
        self.line('check')
        self.checks += 1

    def name(self):
        self.names += 1
        return f'n{self.names}'

    def subvol(self, name):
        self.line(f'subvol {name}')
        self.subvols[name] = {}

    def snapshot(self, source, name, option=''):
        self.line(f'snapshot {option}{source} {name}')
        self.subvols[name] = dict(self.subvols[source])

    def delete(self, name):
        self.line(f'delete {name}', None if name in self.subvols else 'ENOENT')
        self.subvols.pop(name, None)

    def size(self, place):
        return self.subvols.get(place[0], {}).get(place[1])

    def grow(self, place, end):
        self.subvols[place[0]][place[1]] = max(self.size(place) or 0, end)

    def fill(self, word, place, offset, length):
        """write and fallocate"""
        fails = None if place[0] in self.subvols else 'ENOENT'
        self.line(f'{word} {place[0]} {place[1]} {offset * UNIT} {length * UNIT}', fails)
        if not fails:
            self.grow(place, offset + length)

    def share(self, word, source, offset, length, target, target_offset):
        """clone and dedupe; a clone makes its target, also if the range is past the source's end"""
        known = self.size(source), self.size(target)
        fails = None
        if known[0] is None or (word == 'dedupe' and known[1] is None) or \
                target[0] not in self.subvols:
            fails = 'ENOENT'
        elif offset + length > known[0] or (word == 'dedupe' and target_offset + length > known[1]):
            fails = 'EINVAL'
        self.line(f'{word} {source[0]} {source[1]} {offset * UNIT} {length * UNIT} '
                  f'{target[0]} {target[1]} {target_offset * UNIT}', fails)
        if fails != 'ENOENT':
            self.grow(target, 0 if fails else target_offset + length)

    def truncate(self, place, size):
        self.line(f'truncate {place[0]} {place[1]} {size * UNIT}')
        self.subvols[place[0]][place[1]] = size

    def change(self, word, place, numbers=''):
        """punch, unlink and defrag, of a file that must be there"""
        self.line(f'{word} {place[0]} {place[1]}{numbers}',
                  'ENOENT' if self.size(place) is None else None)
        if word == 'unlink':
            self.subvols[place[0]].pop(place[1], None)

    def punch(self, place, offset, length):
        self.change('punch', place, f' {offset * UNIT} {length * UNIT}')

    @property
    def file(self):
        return self.main, 'f'

    @property
    def other(self):
        return self.main, 'g'

    @property
    def far(self):
        return 'w', 'h'


def put_hole(case, offset, length):
    case.punch(case.file, offset, length)


def put_data(case, offset, length):
    case.fill('write', case.file, offset, length)


def put_pieces(case, offset, length):
    for at in range(offset, offset + length, 4):
        case.fill('write', case.file, at, 4)


def put_preallocation(case, offset, length):
    put_hole(case, offset, length)
    case.fill('fallocate', case.file, offset, length)


def put_shared(case, offset, length):
    put_data(case, offset, length)
    case.share('clone', case.file, offset, length, ('w', 's'), offset)


def put_shared_preallocation(case, offset, length):
    put_preallocation(case, offset, length)
    case.share('clone', case.file, offset, length, ('w', 'p'), offset)


def put_half(case, offset, length):
    put_hole(case, offset, length)
    put_data(case, offset + length // 4, length // 2)


def put_snapshot(case, _offset, _length):
    victim = case.name()
    case.snapshot(case.main, victim)
    case.victims.setdefault('snapshot', []).append(victim)


def put_heir(case, _offset, _length):
    heir = case.name()
    case.snapshot(case.main, heir)
    case.victims.setdefault('heir', []).append(heir)


def write(case, offset, length):
    case.fill('write', case.file, offset, length)


def fallocate(case, offset, length):
    case.fill('fallocate', case.file, offset, length)


def clone_inside_from(case, offset, length):
    case.share('clone', case.file, offset, length, case.file, SIZE)


def clone_inside_to(case, offset, length):
    case.share('clone', case.file, 0, length // 2, case.file, offset)


def clone_file_from(case, offset, length):
    case.share('clone', case.file, offset, length, case.other, offset)


def clone_file_to(case, offset, length):
    case.share('clone', case.other, offset, length, case.file, offset)


def clone_subvol_from(case, offset, length):
    case.share('clone', case.file, offset, length, case.far, 0)


def clone_subvol_to(case, offset, length):
    case.share('clone', case.far, 0, length, case.file, offset)


def dedupe_from(case, offset, length):
    case.share('dedupe', case.file, offset, length, case.other, 0)


def dedupe_to(case, offset, length):
    case.share('dedupe', case.other, offset, length, case.file, offset)


def dedupe_subvol(case, offset, length):
    case.share('dedupe', case.far, offset, length, case.file, offset)


def truncate_up(case, _offset, length):
    case.truncate(case.file, (case.size(case.file) or 0) + length)


def truncate_down(case, offset, length):
    case.truncate(case.file, offset + length // 4)


def punch_whole(case, _offset, _length):
    case.punch(case.file, 0, SIZE)


def punch_part(case, offset, length):
    case.punch(case.file, offset, length)


def punch_middle(case, offset, length):
    case.punch(case.file, offset + length // 4, length // 2)


def unlink(case, _offset, _length):
    case.change('unlink', case.file)


def defrag(case, _offset, _length):
    case.change('defrag', case.file)


def commit(case, _offset, _length):
    case.line('commit')


def drop_wait(case, _offset, _length):
    case.line('drop-wait')


def subvol(case, _offset, _length):
    name = case.name()
    case.subvol(name)
    case.share('clone', case.file, 0, 8, (name, 'f'), 0)


def snapshot(case, _offset, _length):
    case.made = case.name()
    case.snapshot(case.main, case.made)


def snapshot_read_only(case, offset, length):
    name = case.name()
    case.snapshot(case.main, name, '-r ')
    case.line(f'write {name} f {offset * UNIT} {length * UNIT}', 'EROFS')


def delete_snapshot(case, _offset, _length):
    case.delete(case.victims['snapshot'].pop())


def delete_source(case, _offset, _length):
    """What has it in common with its snapshot gets full references; the snapshot stands for it."""
    case.delete(case.main)
    case.main = case.victims['heir'].pop()


def delete_other(case, _offset, _length):
    case.delete('w')


# name: (what it finds, what it does, whether it has a range)
OPERATIONS = {
    'write over a hole': (put_hole, write, True),
    'write over data': (put_data, write, True),
    'write over preallocation': (put_preallocation, write, True),
    'write over what is shared': (put_shared, write, True),
    'write over shared preallocation': (put_shared_preallocation, write, True),
    'clone within a file, from': (put_pieces, clone_inside_from, True),
    'clone within a file, to': (put_data, clone_inside_to, True),
    'clone between files, from': (put_data, clone_file_from, True),
    'clone between files, to': (put_preallocation, clone_file_to, True),
    'clone between subvolumes, from': (put_half, clone_subvol_from, True),
    'clone between subvolumes, to': (put_data, clone_subvol_to, True),
    'dedupe, from': (put_data, dedupe_from, True),
    'dedupe, to': (put_pieces, dedupe_to, True),
    'dedupe between subvolumes': (put_shared, dedupe_subvol, True),
    'truncate up': (put_data, truncate_up, False),
    'truncate down': (put_data, truncate_down, True),
    'punch the whole': (put_pieces, punch_whole, False),
    'punch a part': (put_data, punch_part, True),
    'punch the middle': (put_shared, punch_middle, True),
    'fallocate a hole': (put_hole, fallocate, True),
    'fallocate around data': (put_half, fallocate, True),
    'unlink': (put_data, unlink, False),
    'defrag': (put_pieces, defrag, False),
    'commit': (put_data, commit, False),
    'drop-wait': (put_data, drop_wait, False),
    'subvol': (put_data, subvol, False),
    'snapshot': (put_data, snapshot, False),
    'snapshot -r': (put_data, snapshot_read_only, False),
    'delete a snapshot': (put_snapshot, delete_snapshot, False),
    'delete a source': (put_heir, delete_source, False),
    'delete what shares': (put_shared, delete_other, False),
}
OF_SUBVOLS = ('commit', 'drop-wait', 'subvol', 'snapshot', 'snapshot -r', 'delete a snapshot',
              'delete a source', 'delete what shares')


def begin(title, setups, filled):
    """Two subvolumes with files of SIZE units; `setups`: what is put where, in this order."""
    case = Case(title)
    for name in 'vw':
        if filled:
            case.subvols.setdefault('b', {})
            case.snapshot('b', name)
        else:
            case.subvol(name)
    case.truncate(case.file, SIZE)
    put_data(case, 0, 8)
    case.fill('write', case.other, 0, SIZE)
    case.fill('write', case.far, 0, SIZE)
    for put, where in setups:
        put(case, *where)
    case.line('commit')
    return case


def finish(case):
    case.check()
    for name in [name for name in case.subvols if name != 'b']:
        case.delete(name)
    return case


def single(name, filled, shared):
    put, do, _ = OPERATIONS[name]
    case = begin(f"{name}{', shared with a snapshot' * shared}", [(put, ARENA)], filled)
    if shared:
        case.snapshot(case.main, 'm')
    do(case, *ARENA)
    return finish(case)


def pair(first, second, where, between, filled):
    put_first, do_first, _ = OPERATIONS[first]
    put_second, do_second, _ = OPERATIONS[second]
    case = begin(f'{first}; then {second}, {where}; between them: {between}',
                 [(put_second, AROUND), (put_first, ARENA)], filled)
    do_first(case, *ARENA)
    if between == 'commit':
        case.check()
    elif between == 'snapshot':
        case.snapshot(case.main, 'm')
    do_second(case, *RANGES[where])
    if case.made and second not in OF_SUBVOLS:
        case.main = case.made
        do_second(case, *RANGES[where])
    return finish(case)


def all_pairs(first, filled):
    """All of them on small blocks; on large ones by turns with one of what can be between."""
    turn = 0
    for second, (_, _, ranged) in OPERATIONS.items():
        for where in RANGES if ranged and OPERATIONS[first][2] else ('the same',):
            turn += 1
            for number, between in enumerate(BETWEEN):
                if filled or number == turn % len(BETWEEN):
                    yield pair(first, second, where, between, filled)


def run(text, *arguments):
    return subprocess.run([PROGRAM, 'exec', *arguments, '-'], input=text, capture_output=True,
                          text=True, check=False, timeout=TIMEOUT_S)


def run_cases(cases, filled, arguments):
    """What went wrong, or None."""
    prefix = 'subvol b\n' + FILLER if filled else ''
    text = prefix + ''.join(f'# {case.title}\n' + '\n'.join(case.lines) + '\n' for case in cases)
    done = run(text, *arguments)
    wanted = (f'{len(prefix.splitlines()) + sum(len(case.lines) for case in cases)} operations, '
              f'{sum(case.failures for case in cases)} of them failed as they should, '
              f'{sum(case.checks for case in cases)} checks')
    if done.returncode == 0 and done.stdout.startswith(wanted):
        return None
    at = re.search(r'standard input:(\d+)', done.stderr)
    lines = []
    for line in text.splitlines()[len(prefix.splitlines()):int(at[1]) if at else 0]:
        lines = [line] if line.startswith('#') else [*lines, line]
    return '\n'.join([f'exit status {done.returncode}, {" ".join(arguments)}, wanted {wanted}',
                      done.stdout, done.stderr, *lines])


class Walk(unittest.TestCase):
    def walk(self, jobs):
        """`jobs`: (cases, filled, arguments). Each is a process."""
        with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
            wrong = [text for text in pool.map(lambda job: run_cases(*job), jobs) if text]
        self.assertFalse(wrong, f'{len(wrong)} scripts, the first:\n{wrong[0] if wrong else ""}')

    def test_each(self):
        for record in ('percpu', 'locked', 'hashed'):
            self.walk([([single(name, node == '4k', shared) for name in OPERATIONS
                         for shared in (False, True)], node == '4k',
                        ('--node-bytes', node, '--record', record)) for node in NODES])

    def test_pairs(self):
        jobs = [(list(all_pairs(first, node == '4k')), node == '4k', ('--node-bytes', node))
                for node in NODES for first in OPERATIONS]
        self.walk(jobs)
        cases = sum(len(job[0]) for job in jobs)
        checks = sum(case.checks for job in jobs for case in job[0])
        print(f'{cases} pairs, {checks} checks')
        self.assertGreater(cases, 3 * len(OPERATIONS) ** 2)

    def test_scenarios(self):
        """The first line may say how it ends, and with what message: `# exit N: TEXT`."""
        paths = sorted(SCENARIOS.glob('*.script'))
        self.assertTrue(paths)
        for path in paths:
            for node in NODES:
                with self.subTest(path=path.name, node=node):
                    text = path.read_text(encoding='utf-8')
                    ends = re.match(r'# exit (\d+): (.*)', text)
                    done = run(text, '--node-bytes', node)
                    self.assertEqual(done.returncode, int(ends[1]) if ends else 0, done.stderr)
                    self.assertIn(ends[2] if ends else '', done.stderr)


if __name__ == '__main__':
    result = unittest.main(exit=False).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The quota scenarios in tests/scenarios on each engine, record path and size of tree blocks; and that
what they look at can be found wrong."""
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'support'))
from builds import is_sanitized  # noqa: E402

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 120
SCENARIOS = pathlib.Path('tests/scenarios')
SLOW = ('quota_many_files.script', 'quota_middle_gone.script')
ENGINES = ('ledger', 'extent')


def run(text, *arguments):
    return subprocess.run([PROGRAM, 'exec', *arguments, '-'], input=text, capture_output=True,
                          text=True, check=False, timeout=TIMEOUT_S)


def read_all():
    paths = sorted(SCENARIOS.glob('quota_*.script'))
    return {path.name: path.read_text(encoding='utf-8') for path in paths}


class Scenarios(unittest.TestCase):
    def run_all(self, *arguments):
        """Each has to compare the numbers of groups in its checks, or it has looked at nothing."""
        scripts = read_all()
        self.assertGreaterEqual(len(scripts), 12)
        for name, text in scripts.items():
            if name in SLOW and is_sanitized():
                continue
            with self.subTest(script=name, arguments=arguments):
                done = run(text, *arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertRegex(done.stdout, r' [1-9]\d* groups compared, ')

    def test_engines(self):
        for engine in ENGINES:
            self.run_all('--engine', engine)
        self.run_all('--engine', 'extent', '--node-bytes', '4k')

    def test_records(self):
        for record in ('locked', 'hashed'):
            self.run_all('--record', record)

    def test_wrong(self):
        """Each expectation of a number fails when one more unit is expected."""
        found = 0
        for name, text in read_all().items():
            if name in SLOW:
                continue
            lines = text.splitlines()
            at = [number for number, line in enumerate(lines) if line.startswith('expect ')]
            for number in at[::12 if is_sanitized() else 4]:
                line = re.sub(r'rfer (\d+)([km]?)\b', self.add_unit, lines[number], count=1)
                self.assertNotEqual(line, lines[number])
                with self.subTest(script=name, line=line):
                    done = run('\n'.join([*lines[:number], line, '']))
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertIn(f"standard input:{number + 1}: '{line}': expected rfer ",
                                  done.stderr)
                    found += 1
        self.assertGreater(found, 5 if is_sanitized() else 20)

    @staticmethod
    def add_unit(match):
        number = int(match[1]) << {'': 0, 'k': 10, 'm': 20}[match[2]]
        return f'rfer {number + 4096}'


class Random(unittest.TestCase):
    def test_engines(self):
        """Histories of quotas, with all oracles."""
        for engine in ENGINES:
            for threads in ('0', '4'):
                with self.subTest(engine=engine, threads=threads):
                    arguments = ('--seed', '1', '--ops', '600', '--profile', 'quota', '--check',
                                 '--threads', threads)
                    script = subprocess.run([PROGRAM, 'script', *arguments], text=True, check=True,
                                            capture_output=True, timeout=TIMEOUT_S).stdout
                    done = run(script, '--engine', engine)
                    self.assertEqual((done.returncode, done.stderr), (0, ''))
                    self.assertRegex(done.stdout, r' [1-9]\d* groups compared, ')


if __name__ == '__main__':
    result = unittest.main(exit=False).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)

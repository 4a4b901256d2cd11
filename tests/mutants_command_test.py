#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refstorm mutants on builds that are made up: what counts as caught, what does not, and what a build
must have. The tests in these builds are small scripts that do with each planted bug as they are told.
"""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

PROGRAM = os.environ['REFSTORM']
# Long beside what one of these runs takes, on a busy machine too.
TIMEOUT_S = 100
# Of the real table, both caught by one test, in either kind of build; and one that needs tsan.
BUGS = ('queue.publish-early', 'queue.taken-twice')
CHECK = 'thread_queue_test'
RACE = 'queue.publish-relaxed'
BOTH = '^queue[.](publish-early|taken-twice)$'

SCRIPT = '''#!/bin/bash
echo "$REFSTORM_PLANT $FROM_BUILD $PWD" >> "$REFSTORM_BUILD/runs"
reach() {{ echo 1 > "$REFSTORM_PLANT_REACHED"; }}
case ${{REFSTORM_PLANT-unarmed}} in
{cases}
esac
exit 0
'''


def alive(pid):
    try:
        state = pathlib.Path(f'/proc/{pid}/stat').read_text(encoding='ascii')
    except OSError:
        return False
    return state.rpartition(')')[2].split()[0] != 'Z'


class Mutants(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.top = pathlib.Path(self.folder.name)

    def build(self, name='plants', cases=None, plants='ON', sanitize='', tests=(CHECK,)):
        """A build directory whose tests run the shell text `cases` has for the bug, or for 'unarmed'."""
        build = self.top / name
        (build / 'tests').mkdir(parents=True)
        (build / 'CMakeCache.txt').write_text(
            f'RS_PLANTS:BOOL={plants}\nRS_SANITIZE:STRING={sanitize}\n', encoding='ascii')
        lines = []
        for test in tests:
            script = build / 'tests' / test
            script.write_text(SCRIPT.format(cases='\n'.join(
                f'{bug}) {text} ;;' for bug, text in (cases or {}).items())), encoding='ascii')
            script.chmod(0o755)
            lines.append(f'add_test({test} "{script}")\nset_tests_properties({test} PROPERTIES '
                         f'ENVIRONMENT "REFSTORM_BUILD={build};FROM_BUILD=yes" TIMEOUT 20 '
                         f'WORKING_DIRECTORY "{self.top}")\n')
        (build / 'CTestTestfile.cmake').write_text(''.join(lines), encoding='ascii')
        return build

    def run_program(self, *arguments, cwd=None, environment=None):
        clean = {k: v for k, v in os.environ.items() if k != 'REFSTORM_PLANT'}
        return subprocess.run([PROGRAM, 'mutants', *map(str, arguments)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                              cwd=cwd, env={**clean, **(environment or {})})

    def result(self, *arguments, code=0, **options):
        """The JSON result of a run that ends with `code`."""
        done = self.run_program(*arguments, '--json', self.top / 'result.json', **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        result = json.loads((self.top / 'result.json').read_text(encoding='ascii'))
        self.assertEqual(result['schema'], 'refstorm.mutants.v1')
        return result, done

    def unusable(self, message, *arguments, **options):
        done = self.run_program(*arguments, **options)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertIn(message, done.stderr)
        self.assertEqual(done.stdout, '')

    def runs(self, build):
        return (build / 'runs').read_text(encoding='ascii').splitlines()

    def test_caught(self):
        """By an exit code or a signal; sorted by time; each test once unarmed, as the build runs it."""
        build = self.build(cases={BUGS[0]: 'reach; sleep 0.5; exit 3', BUGS[1]: 'reach; kill -SEGV $$'})
        result, done = self.result('--build', build, '--only', BOTH,
                                   environment={'REFSTORM_PLANT_REACHED': '/nowhere'})
        self.assertEqual([m['name'] for m in result['mutants']], [BUGS[1], BUGS[0]])
        self.assertEqual([m['end'] for m in result['mutants']],
                         ['signal 11 (Segmentation fault)', 'exit 3'])
        quick, slow = result['mutants']
        self.assertTrue(quick['caught'] and slow['caught'])
        self.assertEqual({m['by'] for m in result['mutants']}, {CHECK})
        self.assertEqual(slow['preset'], 'plants')
        self.assertEqual(slow['file'], 'core/delayed/thread_queue.h')
        self.assertGreaterEqual(slow['seconds'], 0.5)
        self.assertGreater(quick['seconds'], 0)
        self.assertAlmostEqual(result['seconds_median'], (quick['seconds'] + slow['seconds']) / 2)
        self.assertEqual(result['seconds_max'], slow['seconds'])
        self.assertEqual((result['plants'], result['caught'], result['partial']), (2, 2, False))
        self.assertEqual(self.runs(build), [f' yes {self.top}', f'{BUGS[0]} yes {self.top}',
                                            f'{BUGS[1]} yes {self.top}'])
        self.assertIn('2 planted bugs, 2 mutants', done.stdout)
        self.assertLess(done.stdout.index(BUGS[1]), done.stdout.index(BUGS[0]))

    def test_not_caught(self):
        """Each way not to be caught: exit 1, one complaint, no time, and what the test said."""
        ways = {
            'reach; echo all is well; exit 0': 'survived',
            'exit 1': 'never reached',
            'exit 0': 'never reached',
            'reach; exit 77': 'skipped',
            'reach; kill -KILL $$': 'killed',
            'reach; sleep 50': 'not caught in time',
        }
        for number, (text, complaint) in enumerate(ways.items()):
            with self.subTest(text):
                build = self.build(f'b{number}', {BUGS[0]: text, BUGS[1]: 'reach; exit 1'})
                begin = time.monotonic()
                result, done = self.result('--build', build, '--only', BOTH, '--timeout', 2, code=1)
                self.assertLess(time.monotonic() - begin, 40)
                caught, bad = result['mutants']
                self.assertEqual((caught['name'], caught['caught']), (BUGS[1], True))
                self.assertEqual((bad['name'], bad['caught'], bad['seconds']), (BUGS[0], False, None))
                self.assertIn(complaint, bad['complaint'])
                self.assertEqual(result['caught'], 1)
                self.assertIn(f'{BUGS[0]} armed', done.stderr)
                self.assertNotIn(f'{BUGS[1]} armed', done.stderr)
        self.assertIn('all is well', self.run_program('--build', self.top / 'b0', '--only', BOTH).stderr)

    def test_fails_unarmed(self):
        """Nothing that the test says counts then, and no bug is tried on it."""
        build = self.build(cases={'unarmed': 'echo broken anyway; exit 1', BUGS[0]: 'reach; exit 1'})
        result, done = self.result('--build', build, '--only', BOTH, code=2)
        self.assertEqual([m['caught'] for m in result['mutants']], [False, False])
        self.assertEqual(len(self.runs(build)), 1)
        self.assertIn('broken anyway', done.stderr)
        self.assertIn('nothing armed: exit 1', done.stderr)
        self.assertEqual((result['seconds_median'], result['seconds_max']), (None, None))

    def test_repeat(self):
        """All runs must catch it; the time is the median."""
        cases = {BUGS[0]: 'reach; mkdir $REFSTORM_BUILD/once 2>/dev/null; exit $?',
                 BUGS[1]: 'reach; mkdir $REFSTORM_BUILD/twice 2>/dev/null && sleep 1; exit 1'}
        build = self.build(cases=cases)
        result, done = self.result('--build', build, '--only', BOTH, '--repeat', 3, code=1)
        caught, bad = result['mutants']
        self.assertEqual((bad['runs'], bad['runs_caught'], bad['caught']), (3, 2, False))
        self.assertEqual((caught['runs'], caught['runs_caught']), (3, 3))
        self.assertGreaterEqual(caught['seconds_max'], 1)
        self.assertLess(caught['seconds'], caught['seconds_max'])
        self.assertIn('2 of 3 caught', done.stdout)

    def test_builds(self):
        """What only tsan can tell is run there alone; both builds of a checkout are found from within."""
        cases = {bug: 'reach; exit 66' for bug in (*BUGS, RACE)}
        plain = self.build('build/plants', cases)
        tsan = self.build('build/plants-tsan', cases, sanitize='thread')
        only = ('--only', f'{BOTH}|^{RACE}$')
        result, _ = self.result('--build', plain, *only)
        self.assertEqual([m['preset'] for m in result['mutants']], ['plants'] * 2)
        self.assertEqual((result['plants'], result['left_out']), (2, 1))
        result, _ = self.result('--build', tsan, *only)
        self.assertEqual([m['preset'] for m in result['mutants']], ['plants-tsan'] * 3)
        (self.top / 'CMakePresets.json').write_text('{}', encoding='ascii')
        result, _ = self.result(*only, '--jobs', 4, cwd=tsan)
        self.assertEqual(sorted((m['name'], m['preset']) for m in result['mutants']),
                         sorted([(bug, 'plants') for bug in BUGS] +
                                [(bug, 'plants-tsan') for bug in (*BUGS, RACE)]))
        done = self.run_program('--build', plain, '--only', f'^{RACE}$')
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn('nothing was run', done.stderr)

    def test_interrupted(self):
        """What is over is kept and marked, and nothing of what runs is left."""
        build = self.build(cases={BUGS[0]: 'reach; exit 1', BUGS[1]:
                                  'reach; sleep 1000 & echo $! > $REFSTORM_BUILD/pid; wait'})
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                (build / 'pid').unlink(missing_ok=True)
                with subprocess.Popen([PROGRAM, 'mutants', '--build', build, '--only', BOTH, '--json',
                                       self.top / 'part.json'], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) as process:
                    pid = self.wait_for_number(build / 'pid')
                    process.send_signal(number)
                    out, err = process.communicate(timeout=TIMEOUT_S)
                self.assertEqual(process.returncode, 130, out + err)
                result = json.loads((self.top / 'part.json').read_text(encoding='ascii'))
                self.assertIs(result['partial'], True)
                states = {m['name']: (m['caught'], m['runs']) for m in result['mutants']}
                self.assertEqual(states, {BUGS[0]: (True, 1), BUGS[1]: (False, 0)})
                self.assertIn('interrupted: 1 of 2', out)
                deadline = time.monotonic() + 10
                while alive(pid) and time.monotonic() < deadline:
                    time.sleep(0.01)
                self.assertFalse(alive(pid))

    def wait_for_number(self, path):
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            if path.exists() and path.read_text(encoding='ascii').endswith('\n'):
                return int(path.read_text(encoding='ascii'))
            time.sleep(0.01)
        self.fail('the test was not run')
        return None

    def test_unusable(self):
        build = self.build()
        self.unusable('no number', '--build', build, '--repeat', 'x')
        self.unusable('at least 1', '--build', build, '--jobs', '0')
        self.unusable('needs a value', '--build')
        self.unusable('unknown option', '--what')
        self.unusable("'image' is no option", '--build', build, 'image')
        self.unusable("--only: '('", '--build', build, '--only', '(')
        self.unusable('no planted bug', '--build', build, '--only', '^queue$')
        self.unusable('no planted bug', '--build', build, '--only', '^queue.looking$')  # a window
        self.unusable('has no test', '--build', build, '--only', '^lineage')
        self.unusable('no build directory', '--build', self.top)
        self.unusable('no build directory', '--build', self.top / 'nothing')
        self.unusable('without planted bugs', '--build', self.build('release', plants='OFF'))
        self.unusable('has no tests', '--build', self.build('empty', tests=()))
        self.unusable('not in a checkout', cwd='/')
        (self.top / 'CMakePresets.json').write_text('{}', encoding='ascii')
        self.unusable('build/plants is not there: make it with cmake --preset plants and', cwd=build)
        self.build('build/plants')
        self.unusable('make it with cmake --preset plants-tsan', cwd=build)
        (build / 'tests' / CHECK).unlink()
        self.unusable(f'{CHECK} is not there', '--build', build, '--only', BOTH)

    def test_cannot_be_run(self):
        build = self.build()
        (build / 'tests' / CHECK).chmod(0o644)
        self.unusable('cannot be run', '--build', build, '--only', BOTH)
        self.unusable('ctest cannot be run', '--build', build, environment={'PATH': '/nowhere'})

    def test_cannot_write(self):
        build = self.build(cases={bug: 'reach; exit 1' for bug in BUGS})
        arguments = ('--build', build, '--only', BOTH, '--json')
        done = self.run_program(*arguments, '/dev/full')
        self.assertEqual(done.returncode, 2, done.stderr)
        done = self.run_program(*arguments, self.top / 'no' / 'f.json')
        self.assertEqual(done.returncode, 2, done.stderr)
        done = self.run_program(*arguments, '-')
        self.assertEqual(len(json.loads(done.stdout)['mutants']), 2)


if __name__ == '__main__':
    unittest.main()

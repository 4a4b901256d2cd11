#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refstorm stress as its users see it: what a run counts, what it finds, what it keeps, exit codes; and
the scripts in stress/regressions."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'support'))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'images'))
from builds import is_sanitized  # noqa: E402
from fixtures import unpack  # noqa: E402

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 250
SEED = os.environ.get('REFSTORM_DATA_SEED') or str(time.time_ns() % 2**31)
FEW = is_sanitized()
REGRESSIONS = pathlib.Path('stress/regressions')
PLANT = 'refs.account-lost'
WINDOW = 'file.source-read'


def accepts(**environment):
    """Whether the build has what the environment arms."""
    done = subprocess.run([PROGRAM, '--version'], env={**os.environ, **environment},
                          capture_output=True, check=False, timeout=TIMEOUT_S)
    return done.returncode == 0


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def stress(self, code, *arguments, environment=None):
        command = [PROGRAM, 'stress', '--artifacts', str(self.folder / 'kept'), *arguments]
        done = subprocess.run(command, env={**os.environ, **(environment or {})}, text=True,
                              capture_output=True, check=False, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def report(self, code, *arguments, environment=None):
        done = self.stress(code, '--json', '-', *arguments, environment=environment)
        return json.loads(done.stdout)

    def kept(self):
        """The only folder that is there, its files by name."""
        folders = list((self.folder / 'kept').iterdir())
        self.assertEqual(len(folders), 1)
        return folders[0], {path.name: path.read_text(encoding='utf-8', errors='replace')
                            for path in folders[0].iterdir()}


class Runs(Case):
    def test_everything_is_done(self):
        rounds = 6 if FEW else 24
        report = self.report(0, '--seed', SEED, '--rounds', str(rounds), '--operations', '400')
        self.assertEqual((report['schema'], report['verdict'], report['failure']),
                         ('refstorm.stress.v1', 'pass', None))
        self.assertEqual(report['rounds'], rounds)
        self.assertEqual(sum(report['profiles'].values()), rounds)
        self.assertEqual(sum(report['rounds_by_engine'].values()), rounds)
        self.assertEqual(report['engines'], ['off', 'ledger', 'extent'])
        for name in ('recount', 'references', 'refverify_actions'):
            self.assertGreater(report['checks'][name], rounds)
        self.assertGreater(sum(report['operations'].values()), rounds * 300)
        for name in ('write', 'subvol', 'delete', 'drop-wait'):
            self.assertGreater(report['operations'][name], 0)
        if not FEW:
            self.assertGreater(report['checks']['groups'], 0)
            self.assertGreater(report['faults']['allocations'], 0)
            self.assertTrue({'ENOENT', 'EEXIST'} <= set(report['operations_failed']))

    def test_stalls(self):
        if not accepts(REFSTORM_WINDOW=f'{WINDOW}:0'):
            return
        report = self.report(0, '--seed', SEED, '--rounds', '8', '--operations', '200')
        self.assertGreater(report['faults']['stalls'], 0)
        self.assertEqual(sum(report['faults']['windows'].values()), report['faults']['stalls'])

    def test_same_seed(self):
        """All but times is the same again, and the state on each record path."""
        arguments = ('--seed', SEED, '--rounds', '4' if FEW else '8', '--threads', '1',
                     '--operations', '300')
        one, same = (self.report(0, *arguments) for _ in range(2))
        for report in (one, same):
            del report['seconds'], report['command'], report['run']
            # Stalls are where threads that run beside the script have come to.
            del report['faults']['stalls'], report['faults']['windows']
        self.assertEqual(one, same)
        other = self.report(0, *arguments[2:], '--seed', '1')
        self.assertNotEqual(other['scripts_digest'], one['scripts_digest'])
        self.assertNotEqual(other['state_digest'], one['state_digest'])
        states = [self.report(0, *arguments, '--no-faults', '--record', record)
                  for record in ('percpu', 'locked', 'hashed')]
        self.assertEqual(len({report['scripts_digest'] for report in states}), 1)
        self.assertEqual(len({report['state_digest'] for report in states}), 1)

    def test_profiles(self):
        for profile in ('quota', 'swarm'):
            report = self.report(0, '--seed', SEED, '--rounds', '2', '--operations', '200',
                                 '--profile', profile, '--engine', 'extent', '--no-faults')
            self.assertEqual(report['profiles'], {profile: 2})
            self.assertEqual(report['engines'], ['extent'])
            self.assertEqual(report['faults']['allocations'], 0)

    def test_image(self):
        for name in ('nested-groups', 'half-dropped-shared'):
            image = unpack('tests/images', name, str(self.folder))[0]
            report = self.report(0, '--seed', SEED, '--rounds', '2', '--operations', '150',
                                 '--image', image)
            self.assertEqual(report['rounds'], 2)
        self.assertIn('simple quotas', self.stress(2, '--image', unpack(
            'tests/images', 'simple-quota', str(self.folder))[0], '--rounds', '1').stderr)

    def test_summary(self):
        done = self.stress(0, '--seed', SEED, '--rounds', '1')
        for word in ('rounds ', 'operations ', 'checks ', 'faults ', 'pass after'):
            self.assertIn(word, done.stdout)
        done = self.stress(0, '--seed', SEED, '--rounds', '1', '--quiet')
        self.assertEqual((done.stdout, done.stderr), ('', ''))


class Refused(Case):
    def test_arguments(self):
        for arguments, text in (
                (['--engine', 'oper'], "--engine: 'oper' is none of off, ledger, extent and all"),
                (['--record', 'x'], "--record: 'x' is none of percpu"),
                (['--profile', 'x'], "--profile: there is no profile 'x'"),
                (['--threads', '0'], '--threads: 0 is too small'),
                (['--threads', '65'], '--threads: 65 is too large'),
                (['--seed', 'x'], "--seed: 'x' is no number"),
                (['--duration', '0'], '--duration: 0 is too small'),
                (['--hang-seconds', '0'], '--hang-seconds: 0 is too small'),
                (['--rounds'], "option '--rounds' needs a value"),
                (['--nothing'], "unknown option '--nothing'"),
                (['x'], "'x' is one too many"),
                (['--image', '/nowhere', '--rounds', '1'], '/nowhere: ')):
            self.assertIn(text, self.stress(2, *arguments).stderr)
        self.assertFalse((self.folder / 'kept').exists())

    def test_vacuous(self):
        for arguments in (['--rounds', '0'], ['--operations', '0']):
            report = self.report(6, *arguments)
            self.assertEqual(report['verdict'], 'vacuous')
            self.assertIn('no operation was run', report['failure']['why'])
            self.assertIsNone(report['failure']['artifacts'])


class Ends(Case):
    def begin(self, *arguments, environment=None):
        """A run that goes on, and the process of its round."""
        command = [PROGRAM, 'stress', '--artifacts', str(self.folder / 'kept'), '--json',
                   str(self.folder / 'json'), '--seed', SEED, '--duration', '100',
                   '--operations', '100000', '--no-faults', *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env={**os.environ, **(environment or {})})
        self.addCleanup(process.kill)
        until = time.monotonic() + TIMEOUT_S
        # Others that it begins before, to find out where it runs, have gone by then; and the round works.
        while not (child := self.child(process)) or not self.works(child):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        time.sleep(2 if FEW else 0.5)
        return process, child

    @staticmethod
    def child(process):
        path = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
        children = path.read_text(encoding='ascii').split()
        return int(children[0]) if children else None

    @staticmethod
    def works(child):
        """Its output goes to a file in memory, as of no other process."""
        try:
            return 'memfd:errors' in os.readlink(f'/proc/{child}/fd/2')
        except OSError:
            return False

    def end(self, process, code, verdict):
        out, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, code, (out, err))
        report = json.loads((self.folder / 'json').read_text(encoding='utf-8'))
        self.assertEqual(report['verdict'], verdict)
        self.assertIn(f'{verdict} after', out)
        return report, err

    def test_hang(self):
        process, child = self.begin('--hang-seconds', '2')
        os.kill(child, signal.SIGSTOP)
        report, err = self.end(process, 3, 'hang')
        folder, files = self.kept()
        self.assertIn('nothing moved for 2 s', err)
        self.assertEqual(report['failure']['artifacts'], str(folder))
        self.assertIn('does not answer', files['stderr.txt'])
        with self.assertRaises(ProcessLookupError):
            os.kill(child, 0)

    def test_stacks(self):
        """Of a thread that waits at a window for longer than allowed."""
        window = {'REFSTORM_WINDOW': f'{WINDOW}:60000000'}
        if not accepts(**window):
            return
        process, _ = self.begin('--hang-seconds', '20' if FEW else '2', '--threads', '1',
                                '--profile', 'clones', environment=window)
        self.end(process, 3, 'hang')
        _, files = self.kept()
        self.assertIn(', in line ', files['stderr.txt'])
        self.assertIn('locks held: ', files['stderr.txt'])
        self.assertIn('has not ended', files['threads.txt'])
        self.assertIn(f"export REFSTORM_WINDOW='{WINDOW}:60000000'", files['replay.sh'])

    def test_crash(self):
        process, child = self.begin()
        os.kill(child, signal.SIGSEGV)
        report, _ = self.end(process, 4, 'crash')
        _, files = self.kept()
        for name in ('about.txt', 'round.script', 'threads.txt', 'finding.txt', 'stderr.txt',
                     'replay.sh'):
            self.assertIn(name, files)
        self.assertIn(f'seed        {SEED}\n', files['about.txt'])
        self.assertGreater(len(files['round.script'].splitlines()), 10)
        self.assertIn('operations begun', files['threads.txt'])
        self.assertEqual(report['failure']['round'], 0)

    def test_not_kept(self):
        process, child = self.begin('--artifacts', '/dev/null/kept')
        os.kill(child, signal.SIGSEGV)
        report, err = self.end(process, 4, 'crash')
        self.assertIn('/dev/null/kept: what has failed cannot be kept', err)
        self.assertIsNone(report['failure']['artifacts'])

    def test_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process, child = self.begin()
            process.send_signal(number)
            report, _ = self.end(process, 130, 'interrupted')
            self.assertGreater(sum(report['operations'].values()), 0)
            self.assertIsNone(report['failure'])
            with self.assertRaises(ProcessLookupError):
                os.kill(child, 0)
        self.assertFalse((self.folder / 'kept').exists())


class Plants(Case):
    def test_found_and_replayed(self):
        plant = {'REFSTORM_PLANT': PLANT}
        if not accepts(**plant):
            self.assertIn('no planted bugs', self.stress(2, environment=plant).stderr)
            return
        for arguments in (['--no-faults'], ['--threads', '1', '--engine', 'off', '--rounds', '40']):
            report = self.report(1, '--seed', SEED, *arguments, environment=plant)
            self.assertEqual(report['verdict'], 'oracle')
            folder, files = self.kept()
            self.assertIn('the deltas of root', files['finding.txt'])
            self.assertTrue(files['round.script'].endswith('check\n'))
            self.assertEqual(report['failure']['replay'], str(folder / 'replay.sh'))
            done = subprocess.run([folder / 'replay.sh'], capture_output=True, text=True,
                                  check=False, timeout=TIMEOUT_S)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn('differences from a recount', done.stderr)
            (self.folder / 'kept').rename(self.folder / f'kept-{len(arguments)}')


class Regressions(unittest.TestCase):
    def test_scripts(self):
        """What was found stays mended."""
        paths = sorted(REGRESSIONS.glob('*.script'))
        self.assertTrue(paths)
        for path in paths:
            for engine in ('ledger', 'extent'):
                for threads in ('1', '4'):
                    with self.subTest(script=path.name, engine=engine, threads=threads):
                        done = subprocess.run(
                            [PROGRAM, 'exec', '--engine', engine, '--threads', threads, path],
                            capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
                        self.assertEqual((done.returncode, done.stderr), (0, ''))
                        self.assertRegex(done.stdout, r' [1-9]\d* checks')


if __name__ == '__main__':
    print(f'seed {SEED}')
    result = unittest.main(exit=False).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/soak with programs that are made up: seeds, what counts as a failure, what is kept, and the ends."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

SOAK = pathlib.Path('tools/soak').resolve()
TIMEOUT_S = 100

# Takes the options that the real programs take, and ends as the file `how` beside it says.
PROGRAM = '''#!/usr/bin/env python3
import json, os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[0]).parent
words = sys.argv[1:]
record = sys.argv[0].endswith('record-stress')
if not record:
    assert words.pop(0) == 'stress', words
options = {}
while words:
    name = words.pop(0)
    options[name] = True if name == '--spread' else words.pop(0)
with open(here / 'runs', 'a') as runs:
    runs.write(json.dumps({'record': record, **options}) + '\\n')
def result(verdict):
    value = {'verdict': verdict, 'failure': None}
    if record:
        value['counts'] = {'deltas': 5}
    else:
        value.update(operations={'write': 7, 'snapshot': 1}, checks={'recount': 2},
                     faults={'stalls': 3, 'windows': {'cow.locked': 3}})
        if verdict != 'pass':
            value['failure'] = {'why': 'bytes are missing'}
    pathlib.Path(options['--json']).write_text(json.dumps(value))
how = 'pass'
for line in (here / 'how').read_text().splitlines():
    what, rest = line.split(':', 1)
    if what in ('any', 'record' if record else 'stress', options.get('--engine'),
                'image' if '--image' in options else 'empty'):
        how = rest
if how == 'pass':
    result('pass')
elif how == 'fail':
    pathlib.Path(options['--artifacts']).mkdir()
    (pathlib.Path(options['--artifacts']) / 'script').write_text('what was done')
    result('oracle')
    sys.exit(1)
elif how == 'lie':
    result('oracle')
elif how == 'sleep':
    time.sleep(1000)
elif how == 'signal':
    os.kill(os.getpid(), signal.SIGSEGV)
elif how.isdigit():
    print('said at last', file=sys.stderr)
    sys.exit(int(how))
'''


class Soaking(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name)
        self.build = self.top / 'build'
        self.build.mkdir()
        for name in ('refstorm', 'refstorm-record-stress'):
            (self.build / name).write_text(PROGRAM, encoding='ascii')
            (self.build / name).chmod(0o755)
        self.how('')

    def how(self, *lines):
        (self.build / 'how').write_text('\n'.join(lines), encoding='ascii')

    def command(self, *arguments):
        return [str(SOAK), '--build', str(self.build), '--artifacts', str(self.top / 'kept'),
                '--json', str(self.top / 'summary.json'), '--images', 'none', '--slice', '1', *arguments]

    def soak(self, *arguments, code=0, runs=10):
        """The summary, and the folder that it leaves."""
        done = subprocess.run(self.command('--budget', '90', '--runs', str(runs), *arguments), capture_output=True,
                              text=True, timeout=TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return *self.summary(), done

    def summary(self):
        summary = json.loads((self.top / 'summary.json').read_text(encoding='ascii'))
        self.assertEqual(summary['schema'], 'refstorm.soak.v1')
        folder = sorted((self.top / 'kept').iterdir())[-1]
        self.assertEqual(json.loads((folder / 'summary.json').read_text(encoding='ascii')), summary)
        return summary, folder

    def runs(self):
        """The options of all runs so far, which are then forgotten."""
        file = self.build / 'runs'
        runs = [json.loads(line) for line in file.read_text(encoding='ascii').splitlines()]
        file.unlink()
        return runs

    def test_passes(self):
        """Seeds are fresh, and follow from the first one; nothing else is left."""
        summary, folder, done = self.soak('--seed', '7')
        runs = self.runs()
        self.assertEqual(len(runs), 10)
        self.assertEqual(summary['runs'], 10)
        seeds = [run['--seed'] for run in runs]
        self.assertEqual(len(set(seeds)), len(seeds))
        stress = [run for run in runs if not run['record']]
        record = [run for run in runs if run['record']]
        self.assertEqual({run['--engine'] for run in stress}, {'ledger', 'extent', 'off'})
        self.assertTrue(record)
        self.assertEqual({run['--profile'] for run in stress}, {'swarm'})
        self.assertFalse([run for run in runs if '--image' in run])
        self.assertEqual(summary['operations'], {'write': 7 * len(stress), 'snapshot': len(stress)})
        self.assertEqual(summary['faults'], {'stalls': 3 * len(stress)})
        self.assertEqual(summary['verdicts'], {'pass': len(runs)})
        self.assertEqual(sum(case['operations'] for case in summary['cases']),
                         8 * len(stress) + 5 * len(record))
        self.assertEqual([path.name for path in folder.iterdir()], ['summary.json'])
        self.assertIn('--seed 7', done.stdout)
        self.soak('--seed', '7')
        again = self.runs()
        for run in runs + again:
            for name in ('--json', '--artifacts'):  # in a folder that has the time in its name
                run.pop(name, None)
        self.assertEqual(runs, again)
        self.soak('--seed', '8')
        self.assertFalse(set(seeds) & {run['--seed'] for run in self.runs()})

    def test_budget(self):
        """Runs get what is left of it."""
        begin = time.monotonic()
        done = subprocess.run(self.command('--budget', '2', '--slice', '90'), capture_output=True,
                              text=True, timeout=TIMEOUT_S, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreaterEqual(time.monotonic() - begin, 1.5)
        summary, _ = self.summary()
        self.assertGreater(summary['runs'], 0)
        self.assertLess(summary['seconds'], 30)
        for run in self.runs():
            self.assertEqual(run['--seconds' if run['record'] else '--duration'], '1')

    def test_failures(self):
        """Each is kept, with what it left and the command; the soak goes on."""
        self.how('ledger:fail', 'extent:signal', 'record:3')
        summary, folder, done = self.soak(code=1)
        runs = self.runs()
        failed = [run for run in runs if run['record'] or run['--engine'] != 'off']
        self.assertGreater(len(runs), len(failed))
        self.assertEqual(len(summary['failures']), len(failed))
        for run, failure in zip(failed, summary['failures']):
            self.assertEqual(str(failure['seed']), run['--seed'])
            what = 'record' if run['record'] else run['--engine']
            self.assertEqual((failure['verdict'], failure['end'], failure['why']),
                             {'ledger': ('oracle', 'exit 1', 'bytes are missing'),
                              'extent': ('crash', 'signal 11', 'signal 11'),
                              'record': ('hang', 'exit 3', 'said at last')}[what])
            kept = folder / failure['folder']
            self.assertIn(f'--seed {run["--seed"]}', (kept / 'command').read_text(encoding='ascii'))
            self.assertEqual((kept / 'artifacts' / 'script').exists(), what == 'ledger')
            self.assertIn(f'FAILED {failure["folder"]}', done.stdout)
        self.assertEqual(len(list(folder.iterdir())), len(failed) + 1)

    def test_says_nothing(self):
        """Who exits with 0 and has done nothing, or whose result says otherwise, has not passed."""
        for how, verdict in (('0', 'vacuous'), ('6', 'vacuous'), ('lie', 'contradiction'), ('5', 'leak'),
                             ('99', 'crash')):
            with self.subTest(how):
                self.how(f'any:{how}')
                summary, _, _ = self.soak(code=1, runs=2)
                self.assertEqual(set(summary['verdicts']), {verdict})

    def test_images(self):
        """Unpacked for the run; one that cannot be opened is told and not tried again."""
        arguments = ('--images', 'reflink,raid0-two', '--engine', 'off', '--kind', 'stress')
        self.how('image:fail')
        summary, folder, _ = self.soak(*arguments, code=1, runs=4)
        self.assertEqual({failure['image'] for failure in summary['failures']},
                         {'reflink', 'raid0-two'})
        self.assertFalse(list(folder.glob('*/*.img')))
        text = (folder / summary['failures'][0]['folder'] / 'command').read_text(encoding='ascii')
        self.assertIn('zstd -d', text)
        self.runs()
        self.how('image:2')
        summary, folder, done = self.soak(*arguments, runs=6)
        self.assertEqual(summary['verdicts']['unusable'], 2)
        self.assertEqual({case['image'] for case in summary['cases'] if case['unusable']},
                         {'reflink', 'raid0-two'})
        self.assertIn('said at last', done.stdout)
        self.assertEqual(len([run for run in self.runs() if '--image' in run]), 2)

    def test_unusable_runs(self):
        """Without an image, what cannot be used is nothing to pass over."""
        self.how('extent:2')
        summary, _, _ = self.soak(code=2)
        self.assertGreater(summary['verdicts']['pass'], 0)
        self.how('any:2')
        summary, _, _ = self.soak('--kind', 'stress', code=2)
        self.assertEqual(summary['verdicts'], {'unusable': 3})

    def test_interrupted(self):
        self.how('any:sleep', 'record:pass', 'off:fail')
        with subprocess.Popen(self.command('--budget', '90', '--jobs', '3', '--verbose'),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            file = self.build / 'runs'
            deadline = time.monotonic() + TIMEOUT_S
            text = ''
            # Until sleepers have taken all places.
            while time.monotonic() < deadline and sum(
                    '"ledger"' in line or '"extent"' in line for line in text.splitlines()) < 3:
                text = file.read_text(encoding='ascii') if file.exists() else ''
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130, out + err)
        summary, folder = self.summary()
        self.assertIs(summary['partial'], True)
        ended = [run for run in self.runs() if run['record'] or run['--engine'] == 'off']
        self.assertEqual(summary['runs'], len(ended))
        self.assertEqual(len(list(folder.iterdir())), len(summary['failures']) + 1)
        self.assertIn('interrupted', out)

    def test_wrong_arguments(self):
        for message, *arguments in (('--budget', '--budget', '0'), ('--engine', '--engine', 'none'),
                                    ('--images', '--images', 'nothing'), ('--what', '--what'),
                                    ('is not there', '--build', str(self.top))):
            done = subprocess.run(self.command(*arguments), capture_output=True, text=True,
                                  timeout=TIMEOUT_S, check=False)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertIn(message, done.stderr)
        self.assertFalse((self.top / 'kept').exists())


if __name__ == '__main__':
    unittest.main()

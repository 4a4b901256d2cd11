#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refstorm profile: its table of locks against uprobes, its flame graphs, and what it does without perf or root.

usage: profile_command_test.py    (of the build in $REFSTORM_BUILD, the program in $REFSTORM)

Of builds with sanitizers only what perf has no part in.
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'support'))
import builds  # noqa: E402

PROGRAM = os.environ['REFSTORM']
TRACING = '/sys/kernel/tracing'
NOBODY = 65534
LOCK = {'name', 'rank', 'acquisitions', 'contended', 'wait_ns', 'wait_ns_p99', 'wait_ns_max',
        'hold_ns', 'hold_ns_max'}


def run(*arguments, **how):
    how = {'capture_output': True, 'text': True, 'timeout': 250, **how}
    return subprocess.run([PROGRAM, 'profile', *arguments], check=False, **how)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Probe:
    """Uprobes at the program's probe points, in a group of their own, which go when they are left."""

    def __init__(self, *names):
        self.names = names
        self.group = f'refstorm_test_{os.getpid()}'

    @staticmethod
    def offset(address):
        for line in output('readelf', '-lW', PROGRAM).splitlines():
            field = line.split()
            if field[:1] == ['LOAD']:
                start, virtual, size = (int(field[at], 16) for at in (1, 2, 4))
                if virtual <= address < virtual + size:
                    return address - virtual + start
        raise AssertionError(f'{address:x} is in no segment')

    def places(self):
        notes = output('readelf', '-nW', PROGRAM)
        found = re.findall(r'Provider: refstorm\s+Name: (\w+)\s+Location: (0x[0-9a-f]+)', notes)
        places = [(name, self.offset(int(at, 16))) for name, at in found if name in self.names]
        assert {name for name, at in places} == set(self.names), notes
        return places

    def write(self, text):
        # Not by open, which looks for the file's end: it has none.
        events = os.open(f'{TRACING}/uprobe_events', os.O_WRONLY | os.O_APPEND)
        try:
            os.write(events, text.encode())
        finally:
            os.close(events)

    def __enter__(self):
        if not os.path.exists(f'{TRACING}/uprobe_events'):
            subprocess.run(['mount', '-t', 'tracefs', 'none', TRACING], check=True)
        self.events = []
        for number, (name, at) in enumerate(self.places()):
            self.write(f'p:{self.group}/{name}_{number} {PROGRAM}:0x{at:x}\n')
            self.events.append(f'{self.group}:{name}_{number}')
        return self

    def __exit__(self, *_):
        for event in self.events:
            self.write('-:' + event.replace(':', '/') + '\n')


class Profile(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.mkdtemp(prefix='refstorm-profile-test-')
        self.addCleanup(shutil.rmtree, self.place)

    def profile(self, *arguments, **how):
        """The JSON of a run that must go well."""
        done = run('--json', '-', *arguments, '--out', self.place, **how)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(result['schema'], 'refstorm.profile.v1')
        self.assertGreater(result['operations'], 0)
        self.assertGreater(result['cpu_seconds'], 0)
        self.assertFalse(result['partial'])
        for lock in result['locks']:
            self.assertEqual(set(lock), LOCK)
            self.assertLessEqual(lock['contended'], lock['acquisitions'])
            self.assertLessEqual(lock['wait_ns_p99'], lock['wait_ns_max'])
            self.assertLessEqual(lock['wait_ns_max'], lock['wait_ns'])
            self.assertLessEqual(lock['hold_ns_max'], lock['hold_ns'])
        waits = [lock['wait_ns'] for lock in result['locks']]
        self.assertEqual(waits, sorted(waits, reverse=True))
        names = [lock['name'] for lock in result['locks']]
        self.assertEqual(len(names), len(set(names)))
        return result

    def locks_of_record_path(self, result):
        return [lock for lock in result['locks'] if lock['name'].startswith('delayed.')
                or lock['rank'] == 200]


class WithoutPerf(Profile):
    short = ('--workload', 'overwrite', '--seconds', '1', '--no-perf')

    def test_percpu_has_no_lock_on_the_record_path(self):
        result = self.profile(*self.short, '--record', 'percpu', '--threads', '4')
        for lock in self.locks_of_record_path(result):
            self.assertEqual(lock['acquisitions'], 0, lock)
        by_name = {lock['name']: lock for lock in result['locks']}
        # The table is not empty, and not of another run.
        self.assertGreater(by_name['forest.root']['acquisitions'], 0)
        # The paths that have one show it.
        for record in ('locked', 'hashed'):
            result = self.profile(*self.short, '--record', record, '--threads', '4')
            self.assertEqual(result['record'], record)
            locks = {lock['name']: lock for lock in self.locks_of_record_path(result)}
            self.assertGreater(locks[f'delayed.{record}']['acquisitions'], 0)
            if record == 'locked':
                self.assertGreater(locks['delayed.locked']['acquisitions'], result['operations'])

    def test_what_a_run_tells(self):
        result = self.profile(*self.short, '--engine', 'off', '--threads', '2', '--snapshots', '3')
        self.assertEqual((result['engine'], result['threads'], result['snapshots']), ('off', 2, 3))
        self.assertIsNone(result['on_cpu'])
        self.assertIsNone(result['off_cpu'])
        self.assertTrue(result['notes'])
        self.assertIn('segment.pop', result['retries'])
        self.assertEqual(set(result['grace_waits']), {'count', 'wait_ns', 'wait_ns_max'})
        self.assertTrue(0.9 < result['seconds'] < 30, result['seconds'])
        files = os.listdir(self.place)
        self.assertEqual(len(files), 1, files)
        self.assertRegex(files[0], r'^profile-\d{6}\.json$')
        with open(os.path.join(self.place, files[0]), encoding='utf-8') as file:
            self.assertEqual(json.load(file), result)

    def test_table_for_people(self):
        done = run(*self.short, '--threads', '2', '--out', self.place)
        self.assertEqual(done.returncode, 0, done.stderr)
        for part in ('operations in', 'contended', 'wait p99', 'forest.root',
                     'exchanges tried again:', 'waits for grace periods:', 'note: '):
            self.assertIn(part, done.stdout)

    def test_arguments(self):
        for arguments, said in (
                ((), 'no workload'),
                (('--workload', 'nothing-of-the-kind'), "no workload 'nothing-of-the-kind'"),
                (('--workload', 'overwrite', '--threads', '0'), '--threads'),
                (('--workload', 'overwrite', '--threads', '2000'), '--threads'),
                (('--workload', 'overwrite', '--seconds', '0'), '--seconds'),
                (('--workload', 'overwrite', '--snapshots', 'many'), '--snapshots'),
                (('--workload', 'overwrite', '--engine', 'oper'), '--engine'),
                (('--workload', 'overwrite', '--record', 'slow'), '--record'),
                (('--workload', 'overwrite', 'more'), 'argument'),
                (('--workload', 'rescan-under-load', '--engine', 'off'), 'engine off'),
                (('--workload', 'overwrite', '--wrong'), '--wrong'),
                (('--workload', 'overwrite', '--out', '/proc/nowhere'), '/proc/nowhere'),
        ):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, (arguments, done.stderr))
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, '')
        self.assertIn('overwrite', run('--workload', 'no').stderr)

    def test_interrupt(self):
        path = os.path.join(self.place, 'result.json')
        with subprocess.Popen([PROGRAM, 'profile', '--workload', 'overwrite', '--seconds', '200',
                               '--threads', '2', '--no-perf', '--json', path],
                              stdout=subprocess.PIPE, cwd=self.place) as child:
            time.sleep(8 if builds.is_sanitized() else 3)
            child.send_signal(signal.SIGINT)
            self.assertIn(b'operations in', child.communicate(timeout=100)[0])
        self.assertEqual(child.returncode, 130)
        with open(path, encoding='utf-8') as file:
            self.assertTrue(json.load(file)['partial'])

    def test_without_perf_in_the_way(self):
        result = self.profile('--workload', 'overwrite', '--seconds', '1', '--threads', '2',
                              env={**os.environ, 'PATH': self.place})
        self.assertIsNone(result['on_cpu'])
        self.assertTrue(any('linux-perf' in note for note in result['notes']), result['notes'])


@unittest.skipIf(builds.is_sanitized(), 'perf and sanitizers: too slow')
class WithPerf(Profile):
    def test_table_and_uprobes_agree(self):
        path = os.path.join(self.place, 'result.json')
        data = os.path.join(self.place, 'data')
        with Probe('lock_wait', 'measure_begin', 'measure_end') as probe:
            events = [part for event in probe.events for part in ('-e', event)]
            done = subprocess.run(
                ['perf', 'record', '--no-buildid-cache', '-q', '-o', data, '-m', '4M', *events, '--',
                 PROGRAM, 'profile', '--workload', 'overwrite', '--record', 'locked',
                 '--threads', '4', '--seconds', '2', '--no-perf', '--json', path],
                check=False, capture_output=True, text=True, cwd=self.place)
            self.assertEqual(done.returncode, 0, done.stderr)
            script = output('perf', 'script', '-i', data, '-F', 'event')
        self.assertNotIn('LOST', done.stderr)
        counts = {'lock_wait': 0}
        measured = 0
        for line in script.splitlines():
            name = re.search(r':(\w+)_\d+:', line)[1]
            if name == 'lock_wait':
                counts[name] += measured
            else:
                measured = int(name == 'measure_begin')
                counts[name] = counts.get(name, 0) + 1
        self.assertEqual((counts['measure_begin'], counts['measure_end']), (1, 1))
        with open(path, encoding='utf-8') as file:
            result = json.load(file)
        contended = sum(lock['contended'] for lock in result['locks'])
        print(f'contended: {contended} in the table, {counts["lock_wait"]} by uprobes',
              file=sys.stderr)
        self.assertGreater(contended, 100)
        self.assertLess(abs(contended - counts['lock_wait']), 0.05 * contended)

    def check_graph(self, stacks, kind):
        self.assertGreater(stacks['samples'], 20)
        self.assertRegex(stacks['svg'], rf'^flame-{kind}-cpu-\d{{6}}\.svg$')
        shares = [top['share'] for top in stacks['top']]
        self.assertEqual(shares, sorted(shares, reverse=True))
        self.assertTrue(0 < sum(shares) < 1.0001, shares)
        path = os.path.join(self.place, stacks['svg'])
        with open(path, encoding='ascii') as file:
            text = file.read()
        graph = xml.dom.minidom.parseString(text)
        titles = [title.firstChild.data for title in graph.getElementsByTagName('title')]
        for word in ('<script', 'href', '@import', 'url('):
            self.assertNotIn(word, text)
        self.assertIn('prefers-color-scheme:dark', text)
        # Stacks are whole: from the threads' beginning to the workload's step.
        for function in ('run_thread', 'overwrite_step'):
            self.assertTrue(any(title.startswith(f'{function} (') for title in titles), titles)
        for box in graph.getElementsByTagName('rect'):
            x, width = float(box.getAttribute('x')), float(box.getAttribute('width'))
            self.assertTrue(0 <= x and 0 < width and x + width <= 1200.01, (x, width))

    def test_flame_graphs(self):
        result = self.profile('--workload', 'overwrite', '--record', 'locked', '--threads', '4',
                              '--seconds', '2')
        self.assertEqual(result['notes'], [])
        self.check_graph(result['on_cpu'], 'on')
        self.check_graph(result['off_cpu'], 'off')
        self.assertGreater(result['off_cpu']['seconds'], 0)
        waiting = [top['function'] for top in result['off_cpu']['top']]
        self.assertIn('lock_acquire_contended', waiting)
        self.assertEqual(len(glob.glob(os.path.join(self.place, '*'))), 3)

    def test_leaves_nothing_behind(self):
        temporary = os.path.join(self.place, 'tmp')
        os.mkdir(temporary)
        self.profile('--workload', 'overwrite', '--threads', '2', '--seconds', '1',
                     env={**os.environ, 'TMPDIR': temporary})
        self.assertEqual(os.listdir(temporary), [])

    def test_without_root(self):
        os.chmod(self.place, 0o777)
        program = os.path.join(self.place, 'refstorm')
        shutil.copy(PROGRAM, program)
        done = subprocess.run([program, 'profile', '--workload', 'overwrite', '--seconds', '1',
                               '--threads', '2', '--json', '-'], check=False, capture_output=True,
                              text=True, cwd=self.place, user=NOBODY, group=NOBODY,
                              extra_groups=[], timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertGreater(result['operations'], 0)
        self.assertTrue(any(lock['acquisitions'] for lock in result['locks']))
        with open('/proc/sys/kernel/perf_event_paranoid', encoding='ascii') as file:
            paranoid = int(file.read())
        if paranoid >= 2:
            self.assertIsNone(result['off_cpu'])
            self.assertTrue(any('root' in note for note in result['notes']), result['notes'])


def main():
    if not builds.is_sanitized() and (os.geteuid() or not shutil.which('perf')):
        print('needs root and perf (the package linux-perf)')
        sys.exit(77)
    unittest.main()


if __name__ == '__main__':
    main()

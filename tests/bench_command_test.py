#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refstorm bench and refstorm list as their users see them: results, messages, exit codes, interruption."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'images'))
sys.path.insert(0, os.path.join(HERE, 'support'))
import builds  # noqa: E402
import fixtures  # noqa: E402

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 240
SLOW = builds.is_sanitized()
SMALL = ('--blocks', '512', '--warm-up', '0.02', '--seconds', '0.05', '--snapshots', '2')
RUN_KEYS = {'date', 'commit', 'build', 'version', 'command', 'machine', 'cpu', 'topology', 'cpus',
            'kernel', 'governor', 'clock', 'memory', 'load', 'virtual', 'counters',
            'perf_event_paranoid'}
POINT_KEYS = {'workload', 'engine', 'record', 'threads', 'snapshots', 'params', 'ops', 'metrics',
              'latency', 'locks', 'failed'}
METRICS = {'ops_per_s', 'ns_per_op', 'cpu_ns_per_op', 'user_ns_per_op', 'join_wait_ns_max',
           'commits_per_s', 'peak_rss_bytes'}
LATENCY_KEYS = {'count', 'mean_ns', 'p50_ns', 'p90_ns', 'p99_ns', 'p999_ns', 'max_ns', 'over',
                'buckets'}
LOCK_TIMES = {'wait_ns', 'wait_ns_p99', 'wait_ns_max', 'hold_ns', 'hold_ns_max'}


def run(*arguments, **options):
    return subprocess.run([PROGRAM, *arguments], check=False, timeout=TIMEOUT_S,
                          **{'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True,
                             **options})


def workloads():
    return json.loads(run('list', '--json', '-').stdout)['workloads']


def child_of(parent):
    """The process that it has started and that has not ended; None if there is none."""
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open(f'/proc/{entry}/stat', encoding='utf-8', errors='replace') as file:
                state, ppid = file.read().rpartition(')')[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == parent and state != 'Z':
            return int(entry)
    return None


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='refstorm-bench-')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.json = os.path.join(folder.name, 'out.json')

    def check(self, done, code, err=''):
        self.assertEqual(done.returncode, code, done.stderr)
        for line in done.stderr.splitlines():
            self.assertTrue(line.startswith('refstorm: '), line)
        self.assertIn(err, done.stderr)
        if not err:
            self.assertEqual(done.stderr, '')

    def bench(self, *arguments, code=0, err=''):
        """The result, and what was printed."""
        done = run('bench', *SMALL, '--json', self.json, *arguments)
        self.check(done, code, err)
        return self.load(), done.stdout

    def load(self):
        with open(self.json, encoding='utf-8') as file:
            return json.load(file)

    def check_latency(self, latency):
        self.assertEqual(set(latency), LATENCY_KEYS)
        quantiles = [latency[f'{name}_ns'] for name in ('p50', 'p90', 'p99', 'p999', 'max')]
        self.assertEqual(quantiles, sorted(quantiles))
        self.assertGreater(quantiles[0], 0)
        self.assertLessEqual(latency['mean_ns'], latency['max_ns'])
        lows = [low for low, _ in latency['buckets']]
        self.assertEqual(lows, sorted(set(lows)))
        self.assertEqual(sum(count for _, count in latency['buckets']),
                         latency['count'] - latency['over'])

    def check_point(self, point, repeat, times=False):
        self.assertEqual(set(point), POINT_KEYS)
        self.assertIsNone(point['failed'])
        self.assertGreater(point['ops'], 0)
        wanted = METRICS | ({'sets'} if point['engine'] == 'ledger' else set())
        # The system's ticks are coarse: a short run may have none.
        self.assertEqual(set(point['metrics']) | {'user_ns_per_op'}, wanted)
        for name, metric in point['metrics'].items():
            self.assertEqual(set(metric), {'median', 'low', 'high', 'samples'})
            self.assertLessEqual(metric['low'], metric['median'], name)
            self.assertLessEqual(metric['median'], metric['high'], name)
            if name != 'user_ns_per_op':
                self.assertEqual(len(metric['samples']), repeat, name)
        for rate, wall in zip(point['metrics']['ops_per_s']['samples'],
                              point['metrics']['ns_per_op']['samples'], strict=True):
            self.assertAlmostEqual(rate * wall / 1e9 / point['threads'], 1, places=6)
        self.assertGreater(point['metrics']['peak_rss_bytes']['low'], 1 << 20)
        self.assertGreater(point['metrics']['cpu_ns_per_op']['low'], 10)
        for latency in point['latency'].values():
            self.check_latency(latency)
        self.assertIn('forest.commit', [lock['name'] for lock in point['locks']])
        for lock in point['locks']:
            self.assertEqual(set(lock), {'name', 'rank', 'acquisitions', 'contended'} | LOCK_TIMES)
            self.assertLessEqual(lock['contended'], lock['acquisitions'])
            for name in LOCK_TIMES:
                self.assertEqual(lock[name] is not None, times, name)


class Sweeps(Case):
    def test_sweep(self):
        repeat = 2 if SLOW else 3
        records = 'percpu' if SLOW else 'percpu,locked'
        result, table = self.bench('--workload', 'overwrite', '--engine', 'off,ledger', '--record',
                                   records, '--threads', '1,2', '--repeat', str(repeat))
        self.assertEqual(set(result), {'schema', 'run', 'partial', 'points'})
        self.assertEqual(result['schema'], 'refstorm.bench.v1')
        self.assertIs(result['partial'], False)
        self.assertLessEqual(RUN_KEYS, set(result['run']))
        self.assertFalse([text for text in result['run']['command'] if '/' in text])
        count = 4 if SLOW else 8
        self.assertEqual(len(result['points']), count)
        self.assertEqual(len({(point['engine'], point['record'], point['threads'])
                              for point in result['points']}), count)
        self.assertEqual(len(table.splitlines()), count + 1)
        for point, row in zip(result['points'], table.splitlines()[1:], strict=True):
            self.check_point(point, repeat)
            self.assertEqual(point['params']['blocks'], 512)
            self.assertIsNone(point['params']['image'])
            self.assertEqual(point['snapshots'], 2)
            # All that this one counts it has measured.
            self.assertEqual(point['ops'],
                             sum(each['count'] for each in point['latency'].values()))
            self.assertEqual(row.split()[:5], ['overwrite', point['engine'], point['record'],
                                               str(point['threads']), '2'])

    def test_lock_times(self):
        result, _ = self.bench('--workload', 'overwrite', '--record', 'locked', '--lock-times',
                               '--repeat', '1', '--no-pin')
        self.check_point(result['points'][0], 1, times=True)
        self.assertGreater(max(lock['hold_ns_max'] for lock in result['points'][0]['locks']), 0)
        self.assertIs(result['points'][0]['params']['pinned'], False)

    def test_standard_output(self):
        done = run('bench', *SMALL, '--workload', 'overwrite', '--repeat', '1', '--json', '-')
        self.check(done, 0)
        self.check_point(json.loads(done.stdout)['points'][0], 1)

    def test_each_workload(self):
        kinds = [kind['name'] for kind in workloads()]
        self.assertGreaterEqual(len(kinds), 7)
        if SLOW:
            kinds = kinds[:2]
        result, _ = self.bench('--workload', ','.join(kinds), '--engine', 'ledger,extent',
                               '--threads', '2', '--repeat', '1')
        self.assertEqual([point['workload'] for point in result['points']],
                         [kind for kind in kinds for _ in range(2)])
        for point in result['points']:
            self.check_point(point, 1)

    def test_image(self):
        images = fixtures.unpack(os.path.join(HERE, 'images'), 'multi-family', self.folder)
        options = [word for image in images for word in ('--image', image)]
        result, _ = self.bench('--workload', 'overwrite', '--repeat', '1', *options)
        self.check_point(result['points'][0], 1)
        self.assertEqual(result['points'][0]['params']['image'], os.path.basename(images[0]))

    def test_list_points(self):
        done = run('bench', '--workload', 'overwrite', '--threads', '1,2', '--snapshots', '0,64',
                   '--list-points')
        self.check(done, 0)
        self.assertEqual(done.stdout.splitlines(),
                         [f'overwrite engine:ledger record:percpu threads:{threads} '
                          f'snapshots:{snapshots}' for threads in (1, 2) for snapshots in (0, 64)])


class Failures(Case):
    def start(self, *arguments):
        # Away from the sources: then no git is asked, and all children are runs.
        process = subprocess.Popen(
            [PROGRAM, 'bench', *SMALL, '--json', self.json, *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            cwd=self.folder)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def wait_child(self, process, number=1):
        """The pid of its child number so many."""
        seen = []
        until = time.monotonic() + TIMEOUT_S / 2
        while time.monotonic() < until and process.poll() is None:
            child = child_of(process.pid)
            if child and child not in seen:
                seen.append(child)
                if len(seen) == number:
                    return child
            time.sleep(0.002)
        return self.fail(f'{len(seen)} children were seen')

    def finish(self, process):
        out, err = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def test_interrupted(self):
        process = self.start('--workload', 'overwrite', '--threads', '1,2,3,4', '--repeat', '2',
                             '--seconds', '0.2')
        self.wait_child(process, 3)
        # To all of the terminal, as from its keyboard.
        os.killpg(process.pid, signal.SIGINT)
        done = self.finish(process)
        self.check(done, 130, 'interrupted: what was complete is kept')
        result = self.load()
        self.assertIs(result['partial'], True)
        self.assertGreaterEqual(len(result['points']), 2)
        for point in result['points']:
            self.check_point(point, 1)
        self.assertIn('1 of 2 runs', done.stdout)
        with self.assertRaises(ProcessLookupError):
            os.killpg(process.pid, 0)

    def failing_child(self, number, code, text, *options):
        process = self.start('--workload', 'overwrite', '--threads', '1,2,3', '--repeat', '2',
                             *options)
        os.kill(self.wait_child(process), number)
        done = self.finish(process)
        self.check(done, code, text)
        result = self.load()
        failed = [point for point in result['points'] if point['failed']]
        self.assertEqual(len(failed), 1)
        self.assertIn(text, failed[0]['failed'])
        self.assertEqual((failed[0]['ops'], failed[0]['metrics']), (0, {}))
        self.assertIn('FAILED', done.stdout)
        for point in result['points']:
            if not point['failed']:
                self.check_point(point, 2)
        self.assertEqual(len(result['points']), 3)

    def test_crash(self):
        self.failing_child(signal.SIGKILL, 4, 'crashed: signal 9')

    def test_hang(self):
        limit = '20' if SLOW else '3'
        self.failing_child(signal.SIGSTOP, 3, f'hung: ended after {limit} s', '--limit', limit)

    def test_no_room(self):
        done = run('bench', *SMALL, '--workload', 'overwrite', '--repeat', '1', '--json',
                   '/dev/full')
        self.check(done, 2, '/dev/full: cannot write')
        self.assertEqual(len(done.stdout.splitlines()), 2)
        with open('/dev/full', 'w', encoding='utf-8') as full:
            done = run('bench', *SMALL, '--workload', 'overwrite', '--repeat', '1', stdout=full)
        self.check(done, 2, 'standard output: cannot write')

    def test_no_place(self):
        begun = time.monotonic()
        done = run('bench', '--workload', 'overwrite', '--seconds', '60', '--json',
                   os.path.join(self.folder, 'none', 'out.json'))
        self.check(done, 2, 'No such file or directory')
        self.assertEqual(done.stdout, '')
        self.assertLess(time.monotonic() - begun, 50)

    def test_bad_image(self):
        path = os.path.join(self.folder, 'image')
        with open(path, 'wb') as image:
            image.truncate(1 << 20)
        done = run('bench', '--workload', 'overwrite', '--image', path)
        self.check(done, 2, path)
        self.assertEqual(done.stdout, '')

    def test_refused(self):
        many = ','.join(str(number) for number in range(1, 65))
        some = ('--workload', 'overwrite')
        for arguments, text in (
                ((), 'no workload is named'),
                (('--workload', 'none'), "there is no workload 'none'"),
                (('--workload', 'overwrite,overwrite'), "'overwrite' is given twice"),
                ((*some, '--engine', 'x'), "--engine: 'x' is none of off, ledger and extent"),
                ((*some, '--record', 'percpu,x'), "--record: 'x' is none of percpu, locked"),
                ((*some, '--threads', '0'), '--threads: 0 is not from 1'),
                ((*some, '--threads', '1,1'), "--threads: '1' is given twice"),
                ((*some, '--threads', 'many'), "--threads: 'many' is no number"),
                ((*some, '--snapshots', ''), '--snapshots: an empty entry'),
                ((*some, '--blocks', '0'), '--blocks: 0 is too small'),
                ((*some, '--seconds', '0'), '--seconds: 0 is not from'),
                ((*some, '--seconds', '-1'), "--seconds: '-1' is no number"),
                ((*some, '--seconds', 'nan'), "--seconds: 'nan' is no number"),
                ((*some, '--seconds', '1e99'), "--seconds: '1e99' is no number"),
                ((*some, '--repeat', '0'), '--repeat: 0 is too small'),
                ((*some, '--threads', many, '--snapshots', many, '--record', 'percpu,locked,hashed'),
                 '12288 points are too many'),
                (('--workload', 'rescan-under-load', '--engine', 'ledger,off'),
                 '--workload rescan-under-load with --engine off: it needs quotas'),
                ((*some, '--image', '/nonexistent'), '/nonexistent'),
                ((*some, '--nothing'), "unknown option '--nothing'"),
                ((*some, '--json'), "option '--json' needs a value"),
                ((*some, 'word'), "'word' is one too many")):
            done = run('bench', *arguments)
            self.check(done, 2, text)
            self.assertEqual(done.stdout, '', arguments)


class List(Case):
    def test_list(self):
        done = run('list')
        self.check(done, 0)
        kinds = workloads()
        self.assertIn('overwrite', [kind['name'] for kind in kinds])
        for kind in kinds:
            self.assertEqual(set(kind), {'name', 'summary', 'parameters', 'operations', 'blocks',
                                         'needs_quotas'})
            self.assertIn(f'\n  {kind["name"]}\n    {kind["summary"]}\n', done.stdout)
            self.assertTrue(kind['operations'])
            self.assertGreater(kind['blocks'], 0)
        for name in ('ledger', 'extent', 'percpu', 'locked', 'hashed'):
            self.assertIn(f'\n  {name}', done.stdout)

    def test_refused(self):
        self.check(run('list', 'word'), 2, "'word' is one too many")
        self.check(run('list', '--json', '/dev/full'), 2, '/dev/full: cannot write')

    def test_help(self):
        for command in ('bench', 'list'):
            done = run('help', command)
            self.check(done, 0)
            self.assertIn(f'usage: refstorm {command} ', done.stdout)
            self.assertIn(f'  {command} ', run('--help').stdout)


if __name__ == '__main__':
    unittest.main(verbosity=2)

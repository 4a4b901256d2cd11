#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refstorm compare as its users see it: exit codes, table, JSON, warnings, refusals."""
import copy
import json
import os
import subprocess
import tempfile
import unittest

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 120


def metric(middle, repeats=6):
    return {'samples': [middle * (1 + 0.001 * at) for at in range(repeats)]}


def point(cpu, threads=1, workload='overwrite', **params):
    return {'workload': workload, 'engine': 'ledger', 'record': 'percpu', 'threads': threads,
            'snapshots': 1, 'params': {'blocks': 64, 'seconds': 1, 'seed': 3, 'image': None,
                                       **params},
            'ops': 100, 'failed': None, 'latency': {}, 'locks': [],
            'metrics': {'cpu_ns_per_op': metric(cpu), 'ops_per_s': metric(1e9 / cpu),
                        'sets': None}}


def document(*points, **run):
    return {'schema': 'refstorm.bench.v1', 'partial': False, 'points': list(points),
            'run': {'machine': 'm', 'kernel': 'k', 'build': 'release', 'commit': 'c', **run}}


class Compare(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)

    def path(self, name, content):
        path = os.path.join(self.place.name, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def compare(self, a, b, *options):
        return subprocess.run(
            [PROGRAM, 'compare', *options, self.path('a.json', a), self.path('b.json', b)],
            capture_output=True, text=True, check=False, timeout=TIMEOUT_S)

    def report(self, a, b, code, *options):
        done = self.compare(a, b, '--json', '-', *options)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout), done.stderr

    def refused(self, err, a, b, *options):
        done = self.compare(a, b, *options)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(done.stdout, '')
        self.assertTrue(done.stderr.startswith('refstorm: '), done.stderr)
        self.assertIn(err, done.stderr)

    def test_same(self):
        one = document(point(100), point(200, 2))
        done = self.compare(one, one)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('2 points, 1 workloads: 0 worse, 0 better, 3 same, 0 unclear', done.stdout)
        self.assertIn('cpu_ns_per_op (less is better)', done.stdout)
        self.assertIn('ops_per_s (more is better; does not decide)', done.stdout)

    def test_worse(self):
        one = document(point(100), point(200, 2))
        other = document(point(200, 2), point(120))
        found, err = self.report(one, other, 1)
        self.assertEqual(err, '')
        self.assertEqual((found['schema'], found['verdict']), ('refstorm.compare.v1', 'worse'))
        points = {each['threads']: each['tests'] for each in found['workloads'][0]['points']}
        verdicts = {threads: [(test['metric'], test['decides'], test['verdict'])
                              for test in tests] for threads, tests in points.items()}
        self.assertEqual(verdicts, {
            1: [('cpu_ns_per_op', True, 'worse'), ('ops_per_s', False, 'worse')],
            2: [('cpu_ns_per_op', True, 'same'), ('ops_per_s', False, 'same')]})
        ratio = points[1][0]['ratio']
        self.assertAlmostEqual(ratio['median'], 1.2)
        self.assertLess(points[1][0]['p_adjusted'], 0.05)
        self.assertEqual(self.report(other, one, 0)[0]['verdict'], 'not-worse')
        self.report(one, other, 0, '--threshold', '30')
        self.report(one, other, 0, '--alpha', '0.000001')

    def test_what_does_not_decide(self):
        one = document(point(100))
        other = copy.deepcopy(one)
        other['points'][0]['metrics']['ops_per_s'] = metric(1e6)
        self.report(one, other, 0)
        self.report(one, other, 1, '--metric', 'ops_per_s')
        self.report(one, other, 1, '--metric', 'cpu_ns_per_op,ops_per_s')

    def test_zero(self):
        one = document(point(100))
        other = copy.deepcopy(one)
        one['points'][0]['metrics']['wait'] = {'samples': [0] * 6}
        other['points'][0]['metrics']['wait'] = {'samples': [0] * 6}
        found, _ = self.report(one, other, 0, '--metric', 'wait')
        test = found['workloads'][0]['points'][0]['tests'][0]
        self.assertEqual((test['ratio'], test['verdict']), (None, 'same'))
        other['points'][0]['metrics']['wait'] = metric(50)
        found, _ = self.report(one, other, 1, '--metric', 'wait')
        test = found['workloads'][0]['points'][0]['tests'][0]
        self.assertEqual((test['ratio'], test['verdict']), (None, 'worse'))

    def test_matching(self):
        one = document(point(100), point(100, 2), point(100, blocks=128), point(100, image='x'))
        other = document(point(100), point(100, 4), point(100, blocks=128))
        found, _ = self.report(one, other, 0)
        self.assertEqual(len(found['workloads'][0]['points']), 2)
        self.assertEqual((len(found['only_a']), len(found['only_b'])), (2, 1))
        self.assertIn('only in', self.compare(one, other).stdout)

    def test_warnings(self):
        one = document(point(100), point(100, 2))
        other = document(point(100, seconds=2), point(100, 2), machine='n', commit='d')
        other['partial'] = True
        other['points'][1]['failed'] = 'the result is wrong'
        done = self.compare(one, other)
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ('is partial', 'failed, and is left out', 'seconds differ at 1 of 1',
                     'machine differs: "m" in'):
            self.assertIn(text, done.stderr)
        self.assertNotIn('commit', done.stderr)
        del other['run']
        self.assertIn('does not say what it was measured on', self.compare(one, other).stderr)

    def test_few_samples(self):
        one = document(point(100))
        one['points'][0]['metrics']['cpu_ns_per_op'] = metric(100, 3)
        other = copy.deepcopy(one)
        other['points'][0]['metrics']['cpu_ns_per_op'] = metric(300, 3)
        found, err = self.report(one, other, 0)
        self.assertIn('3 samples a side: too few', err)
        self.assertIn('5 are needed', err)
        self.assertEqual(found['repeats'],
                         {'fewest': 3, 'workload_needs': 5, 'point_needs': 5})
        self.assertEqual(found['workloads'][0]['tests'][0]['verdict'], 'unclear')

    def test_unusable(self):
        good = document(point(100))
        self.refused('a.json: line 1: no JSON', '{"schema"', good)
        self.refused('b.json: line 1: no JSON', good, 'nothing')
        self.refused('no JSON', good, json.dumps(good).replace('100.0', 'NaN', 1))
        self.refused('schema refstorm.bench.v1', good, {'schema': 'refstorm.stress.v1'})
        self.refused('schema refstorm.bench.v1', [], good)
        self.refused('has no points', {'schema': 'refstorm.bench.v1'}, good)
        self.refused('no point in common', good, document(point(100, 2)))
        self.refused('no point in common', good, document())
        self.refused('is there twice', document(point(1), point(1)), good)
        self.refused('no point of both has the metric x', good, good, '--metric', 'x')
        self.refused('named twice', good, good, '--metric', 'ops_per_s,ops_per_s')
        for value in (-1, 'NaN', None, True):
            bad = copy.deepcopy(good)
            bad['points'][0]['metrics']['ops_per_s']['samples'][1] = value
            self.refused('b.json: points[0]: metric ops_per_s: sample 1', good, bad)
        for key, value in (('workload', 'a\x1b[2J'), ('threads', 0), ('threads', 1.5),
                           ('snapshots', -1), ('params', 3), ('metrics', None), ('engine', 7)):
            bad = copy.deepcopy(good)
            bad['points'][0][key] = value
            self.refused('b.json: points[0]', good, bad)

    def test_arguments(self):
        good = document(point(100))
        self.refused('--threshold', good, good, '--threshold', '-1')
        self.refused('--threshold', good, good, '--threshold', 'nan')
        self.refused('--alpha', good, good, '--alpha', '0')
        self.refused('--metric', good, good, '--metric', 'a,,b')
        self.refused('unknown option', good, good, '--nothing')
        self.refused('two results', good, good, 'third')
        done = subprocess.run([PROGRAM, 'compare', '/nowhere/a', '/nowhere/b'],
                              capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 2)
        self.assertIn('/nowhere/a', done.stderr)


if __name__ == '__main__':
    unittest.main()

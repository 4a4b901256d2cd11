#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program as its users see it: exit codes, options, forms of the report, signals, mounts."""
import collections
import csv
import glob
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'images'))
import fixtures  # noqa: E402

PROGRAM = os.environ['REFSTORM']
BUILD = os.environ['REFSTORM_BUILD']
TIMEOUT_S = 120

# The schema refstorm.verify.v1, in its order.
REPORT = [('schema', str), ('image', list), ('generation', int), ('mode', str),
          ('inconsistent', bool), ('rescan', (int, type(None))), ('groups', list),
          ('referenced_bytes', int), ('refs', (dict, type(None))), ('root_sets', dict),
          ('seconds', dict), ('peak_rss_bytes', int), ('warnings', list)]
GROUP = [('id', str), ('path', (str, type(None))), ('rfer', int), ('excl', int),
         ('data_rfer', int), ('data_excl', int), ('stored_rfer', (int, type(None))),
         ('stored_excl', (int, type(None))), ('match', (bool, type(None)))]
REFS = [('extents', int), ('tree_blocks', int), ('backrefs', int), ('errors', list)]
ROOT_SETS = [('distinct', int), ('runs', int), ('bytes', int)]
SECONDS = [('read', float), ('sets', float), ('refs', (float, type(None))), ('total', float)]


def run(*arguments, **options):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False,
                          timeout=TIMEOUT_S, **options)


def has_windows():
    """Whether the build stops at labelled windows."""
    with open(os.path.join(BUILD, 'CMakeCache.txt'), encoding='utf-8') as cache:
        return re.search(r'^RS_WINDOWS:BOOL=(ON|1)$', cache.read(), re.M)


class Images(unittest.TestCase):
    """Unpacks each image once."""

    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.unpacked = {}

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def image(self, name):
        if name not in self.unpacked:
            self.unpacked[name] = fixtures.unpack(os.path.join(HERE, 'images'), name,
                                                  self.place.name)
            self.assertTrue(self.unpacked[name], f'no fixture {name}')
        return self.unpacked[name]

    def path(self, name):
        return os.path.join(self.place.name, name)

    def check(self, done, code, err=''):
        """The exit code, one message a line, and a part of them."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for line in done.stderr.splitlines():
            self.assertTrue(line.startswith('refstorm: '), line)
        self.assertIn(err, done.stderr)
        if not err:
            self.assertEqual(done.stderr, '')

    def refused(self, err, *arguments, **options):
        done = run(*arguments, **options)
        self.check(done, 2, err)
        self.assertEqual(done.stdout, '')


class Commands(Images):
    def test_help(self):
        for arguments in (['--help'], ['-h'], ['help']):
            done = run(*arguments)
            self.check(done, 0)
            self.assertIn('usage: refstorm COMMAND', done.stdout)
            self.assertIn('  verify ', done.stdout)
        texts = set()
        for arguments in (['help', 'verify'], ['verify', '--help'], ['verify', '-h'],
                          ['verify', '--json', '-', '--help'], ['verify', 'x', '--help']):
            done = run(*arguments)
            self.check(done, 0)
            texts.add(done.stdout)
        self.assertEqual(len(texts), 1)
        text = texts.pop()
        for option in ('--threads', '--json', '--csv', '--no-refs', '--raw', '--quiet', '--force'):
            self.assertIn(f'  {option} ', text)
        self.assertIn('130', text)

    def test_version(self):
        done = run('--version')
        self.check(done, 0)
        self.assertRegex(done.stdout, r'\Arefstorm \d+\.\d+\.\d+\n\Z')

    def test_unknown(self):
        done = run()
        self.assertEqual(done.returncode, 2)
        self.assertIn('usage: ', done.stderr)
        self.assertEqual(done.stdout, '')
        self.refused("no command 'verfy'", 'verfy')
        self.refused("no command 'nothing'", 'help', 'nothing')
        self.refused("no command ''", '')
        self.refused("unknown option '--nothing'", 'verify', '--nothing', 'x')
        self.refused("unknown option '-x'", 'verify', '-x', 'y')
        self.refused("unknown option '-x'", 'verify', '-xy', 'y')
        self.refused("'--raw' takes no value", 'verify', '--raw=1', 'x')
        self.refused('no image given', 'verify')
        self.refused('no image given', 'verify', '--raw')
        self.refused('--help', 'verify', '--', '--help')

    def test_values(self):
        for text in ('x', '', '1x', '-1', '+1', ' 1', '0x4', '1.5', '1kk', 'k'):
            self.refused(f"--threads: '{text}' is no number", 'verify', '--threads', text, 'x')
        for text in ('1025', '2k', '1g', '99999999999999999999', '18446744073709551616'):
            self.refused(f'--threads: {text} is too large; the most is 1024', 'verify',
                         '--threads', text, 'x')
        self.refused('at least one thread', 'verify', '--threads', '0', 'x')
        for option in ('--threads', '--json', '--csv'):
            self.refused(f"option '{option}' needs a value", 'verify', 'x', option)
        self.refused('cannot both go to', 'verify', '--json', '-', '--csv', '-', 'x')
        self.refused('cannot both go to', 'verify', '--json', 'a', '--csv', 'a', 'x')


class Verify(Images):
    def fields(self, value, wanted):
        self.assertEqual(list(value), [name for name, _ in wanted])
        for name, kind in wanted:
            self.assertIsInstance(value[name], kind, name)
            if kind is int:
                self.assertNotIsInstance(value[name], bool, name)

    def report(self, *arguments, code=0):
        done = run('verify', '--json', '-', *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        pairs = json.loads(done.stdout, object_pairs_hook=collections.OrderedDict)
        self.fields(pairs, REPORT)
        self.fields(pairs['root_sets'], ROOT_SETS)
        self.fields(pairs['seconds'], SECONDS)
        for group in pairs['groups']:
            self.fields(group, GROUP)
        return pairs

    def test_json(self):
        report = self.report(*self.image('snapshots'))
        self.assertEqual(report['schema'], 'refstorm.verify.v1')
        self.assertEqual(report['image'], self.image('snapshots'))
        self.assertEqual((report['mode'], report['inconsistent'], report['rescan']),
                         ('full', False, None))
        self.fields(report['refs'], REFS)
        self.assertEqual(report['refs']['errors'], [])
        self.assertIsInstance(report['seconds']['refs'], float)
        unchecked = self.report('--no-refs', *self.image('snapshots'))
        self.assertEqual((unchecked['refs'], unchecked['seconds']['refs']), (None, None))
        self.assertTrue(all(group['match'] is True for group in report['groups']))
        self.assertEqual(report['groups'][0]['id'], '0/5')
        self.assertGreater(report['peak_rss_bytes'], 1 << 20)
        report = self.report(*self.image('quota-off'))
        self.assertEqual(report['mode'], 'off')
        self.assertTrue(all(group['match'] is None for group in report['groups']))
        self.assertEqual(self.report(*self.image('simple-quota'))['mode'], 'simple')
        report = self.report(*self.image('rescan-running'))
        self.assertIsInstance(report['rescan'], int)
        report = self.report(*self.image('inconsistent'))
        self.assertTrue(report['inconsistent'])
        report = self.report(*self.image('tree-log'))
        self.assertIn('a log tree waits', report['warnings'][0])
        report = self.report(*self.image('raid1-two'))
        self.assertEqual(len(report['image']), 2)

    def test_threads(self):
        reports = [self.report('--threads', threads, *self.image('multi-family'))
                   for threads in ('1', '2', '9', '1k')]
        for report in reports:
            self.assertEqual(report['groups'], reports[0]['groups'])
            self.assertEqual(report['referenced_bytes'], reports[0]['referenced_bytes'])

    def test_csv(self):
        report = self.report(*self.image('snapshots'))
        done = run('verify', '--csv', '-', *self.image('snapshots'))
        self.check(done, 0)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        self.assertEqual(list(rows[0]), [name for name, _ in GROUP])
        for row, group in zip(rows, report['groups'], strict=True):
            for name, value in group.items():
                text = '' if value is None else str(value).lower() if value is True else str(value)
                self.assertEqual(row[name], text)

    def test_table(self):
        image = self.image('snapshots')
        report = self.report(*image)
        done = run('verify', *image)
        self.check(done, 0)
        self.assertIn('KiB', done.stdout)
        raw = run('verify', '--raw', '--no-refs', *image)
        self.check(raw, 0)
        self.assertNotIn('KiB', raw.stdout)
        lines = raw.stdout.splitlines()
        for line, group in zip(lines[1:], report['groups'], strict=False):
            self.assertEqual(line.split()[:6],
                             [group['id'], str(group['rfer']), str(group['excl']),
                              str(group['stored_rfer']), str(group['stored_excl']), 'ok'])
        quiet = run('verify', '--quiet', *image)
        self.check(quiet, 0)
        self.assertEqual(quiet.stdout, '')

    def test_files(self):
        image = self.image('snapshots')
        target, table = self.path('report.json'), self.path('report.csv')
        done = run('verify', '--json', target, '--csv', table, *image, umask=0o027)
        self.check(done, 0)
        self.assertIn('0/5', done.stdout)
        with open(target, encoding='utf-8') as file:
            self.fields(json.load(file), REPORT)
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o640)
        with open(table, encoding='utf-8') as file:
            self.assertTrue(file.readline().startswith('id,path,'))
        # One file, the other to standard output and nothing else with it.
        done = run('verify', '--json', target, '--csv', '-', *image)
        self.check(done, 0)
        self.assertTrue(done.stdout.startswith('id,path,'))
        self.assertNotIn('groups,', done.stdout)
        # What is there stays as it is when the run fails.
        with open(target, 'w', encoding='utf-8') as file:
            file.write('kept')
        self.check(run('verify', '--json', target, '/dev/null'), 2, '/dev/null')
        with open(target, encoding='utf-8') as file:
            self.assertEqual(file.read(), 'kept')
        self.assertEqual(glob.glob(self.path('report.*.*')), [])

    def test_unwritable(self):
        image = self.image('snapshots')
        before = sorted(os.listdir(self.place.name))
        for target in (self.path('no/such/place'), self.place.name, '/dev/full',
                       '/proc/self/nothing'):
            done = run('verify', '--quiet', '--json', target, *image)
            self.check(done, 2, target)
            self.assertEqual(done.stdout, '')
        self.assertEqual(sorted(os.listdir(self.place.name)), before)

    def test_output_lost(self):
        image = self.image('snapshots')
        for arguments in (['verify', *image], ['verify', '--json', '-', *image],
                          ['verify', '--csv', '-', *image], ['--version'], ['--help']):
            with open('/dev/full', 'w', encoding='utf-8') as full:
                done = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE,
                                      text=True, check=False, timeout=TIMEOUT_S)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn('cannot write', done.stderr)
            for closed in ('>&-', '>&- <&-', '>&- <&- 2>&-'):
                done = subprocess.run(['bash', '-c', f'exec "$@" {closed}', 'sh', PROGRAM,
                                       *arguments], stderr=subprocess.PIPE, text=True,
                                      check=False, timeout=TIMEOUT_S)
                self.assertEqual(done.returncode, 2, (arguments, closed))

    def test_streams_closed(self):
        """What is printed must not get into a file that took the number of a closed stream."""
        image = self.image('snapshots')
        for closed, code in (('<&-', 0), ('>&-', 2), ('2>&-', 0), ('<&- >&-', 2), ('<&- 2>&-', 0),
                             ('<&- >&- 2>&-', 2)):
            target = self.path('closed.json')
            done = subprocess.run(['bash', '-c', f'exec "$@" {closed}', 'sh', PROGRAM, 'verify',
                                   '--json', target, *image], capture_output=True, check=False,
                                  timeout=TIMEOUT_S)
            self.assertEqual(done.returncode, code, closed)
            with open(target, encoding='utf-8') as file:
                self.fields(json.load(file), REPORT)
            os.unlink(target)

    def test_bad_images(self):
        self.refused('/nonexistent', 'verify', '/nonexistent')
        self.refused('missing', 'verify', self.image('raid1-two')[0])
        self.refused('given twice', 'verify', *self.image('snapshots') * 2)
        self.refused('belongs to file system', 'verify', *self.image('snapshots'),
                     *self.image('reflink'))

    def test_first_copy_bad(self):
        """A bad copy of RAID1 is a warning, in the report too."""
        images = self.image('raid1-two')
        with open(images[0], 'r+b') as file:
            data = file.read()
            # Tree blocks of 16 KiB begin with their checksum; behind it the file system id.
            fsid = data[65536 + 32:65536 + 48]
            found = [match.start() - 32 for match in re.finditer(re.escape(fsid), data)
                     if (match.start() - 32) % 16384 == 0 and match.start() > 1 << 20]
            self.assertTrue(found)
            for at in found:
                file.seek(at + 50)
                file.write(b'\xa5' * 8)
        try:
            done = run('verify', '--json', '-', *images)
            self.check(done, 0, 'warning: block at')
            self.assertTrue(any('copy 2 of 2 is good' in text
                                for text in json.loads(done.stdout)['warnings']))
        finally:
            del self.unpacked['raid1-two']


class Interrupt(Images):
    def start(self, *arguments, window='reader.block:20000'):
        """A run that is slowed down at each block."""
        return subprocess.Popen([PROGRAM, 'verify', '--threads', '1', *arguments,
                                 *self.image('deep')], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE,
                                env={**os.environ, 'REFSTORM_WINDOW': window})

    def setUp(self):
        if not has_windows():
            self.skipTest('this build has no windows')

    def test_once(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            target = self.path('interrupted.json')
            with self.start('--json', target) as process:
                time.sleep(1.0)
                self.assertIsNone(process.poll())
                begin = time.monotonic()
                process.send_signal(number)
                out, err = process.communicate(timeout=TIMEOUT_S)
                self.assertLess(time.monotonic() - begin, 10)
            self.assertEqual(process.returncode, 130, err)
            self.assertEqual(out, '')
            self.assertIn('refstorm: interrupted: nothing was computed\n', err)
            self.assertEqual(glob.glob(target + '*'), [])

    def test_twice(self):
        with self.start(window='reader.block:5000000') as process:
            time.sleep(1.0)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=4)
        self.assertEqual(process.returncode, 130)


class Mounted(Images):
    """An image that the kernel has mounted read-write may change: it is refused."""

    def mount(self, image, *options):
        done = subprocess.run(['mount', '-t', 'btrfs', '-o', ','.join(('loop', *options)), image,
                               self.path('mount')], capture_output=True, text=True, check=False)
        if done.returncode:
            self.skipTest(f'no loop mounts here: {done.stderr.strip()}')
        self.addCleanup(subprocess.run, ['umount', self.path('mount')], check=True)

    def setUp(self):
        os.makedirs(self.path('mount'), exist_ok=True)

    def test_read_write(self):
        image = self.image('reflink')[0]
        self.mount(image)
        subprocess.run(['sync', '-f', self.path('mount')], check=True)
        self.refused(f'{image}: mounted read-write on {self.path("mount")}', 'verify', image)
        done = run('verify', '--force', '--quiet', image)
        self.assertNotIn('mounted read-write', done.stderr)

    def test_read_only(self):
        image = self.image('compressed')[0]
        self.mount(image, 'ro')
        done = run('verify', '--quiet', image)
        self.check(done, 0)


if __name__ == '__main__':
    result = unittest.main(exit=False).result
    if not result.wasSuccessful() or not result.testsRun:
        sys.exit(1)
    sys.exit(77 if any('loop' in why for _, why in result.skipped) else 0)

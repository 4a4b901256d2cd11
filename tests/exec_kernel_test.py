#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The forest does what the kernel's btrfs does: tools/compare-kernel on a few scripts, and that it can fail."""
import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.path.join(TOP, 'tools', 'compare-kernel')
PROGRAM = os.environ['REFSTORM']
SEED = int(os.environ.get('REFSTORM_DATA_SEED') or time.time_ns() % 2**31)
TIMEOUT_S = 280
SKIP = 77


def load_tool():
    loader = importlib.machinery.SourceFileLoader('compare_kernel', TOOL)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


compare_kernel = load_tool()


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
                          **options)


class Case(unittest.TestCase):
    def setUp(self):
        """The tool's own folder, in which nothing may be left."""
        folder = tempfile.TemporaryDirectory(prefix='refstorm-kernel-')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.environment = {**os.environ, 'TMPDIR': self.folder}

    def check_undone(self):
        self.assertEqual(os.listdir(self.folder), [])
        self.assertNotIn(self.folder, run('losetup', '-l', '-n', '-O', 'BACK-FILE').stdout)
        with open('/proc/self/mounts', encoding='utf-8') as mounts:
            self.assertNotIn(self.folder, mounts.read())

    def compare(self, code, *arguments):
        done = run(TOOL, '--program', PROGRAM, *arguments, env=self.environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.check_undone()
        return done.stdout

    def compare_text(self, code, text, *arguments):
        with tempfile.NamedTemporaryFile('w', suffix='.script') as script:
            script.write(text)
            script.flush()
            return self.compare(code, *arguments, script.name)


class Equal(Case):
    def test_seeds(self):
        said = self.compare(0, '--seeds', '3', '--first', str(SEED), '--ops', '200')
        self.assertIn('3 of 3 equal', said)

    def test_threads(self):
        self.compare(0, '--seeds', '1', '--first', str(SEED), '--ops', '200', '--threads', '3')

    def test_rules(self):
        """What is easily done otherwise than the kernel does it."""
        self.compare_text(0, 'subvol v\n'
                          # Preallocation is written in place; not where a snapshot has been since.
                          'fallocate v f 0 1m\nwrite v f 64k 64k\nsnapshot v s\n'
                          'write v f 256k 64k\ndelete s\ndrop-wait\nwrite v f 512k 64k\n'
                          # A part of an extent keeps all of it.
                          'write v g 0 1m\npunch v g 4k 1016k\nclone v g 0 4k v h 0\nunlink v g\n'
                          # Extents that are overwritten in full go.
                          'write v i 0 64k\nwrite v i 64k 64k\nwrite v i 0 128k\n')


class Different(Case):
    """Each is one line more on one side."""
    BASE = 'subvol v\nwrite v f 0 64k\nclone v f 0 16k v g 0\nsnapshot v s\n'

    def check_found(self, line, *texts):
        said = self.compare_text(1, self.BASE, '--kernel-adds', line)
        self.assertIn('DIFFERS', said)
        self.assertIn('0 of 1 equal', said)
        for text in texts:
            self.assertIn(text, said)

    def test_extent(self):
        self.check_found('write v h 0 8k', 'v: data_rfer 65536 on the forest, 73728 on the kernel',
                         'v: data_excl 0 on the forest, 8192 on the kernel',
                         'data extents of 8192 bytes: 0 on the forest, 1 on the kernel')

    def test_shared(self):
        """The same extents, not the same who has them."""
        said = self.compare_text(1, self.BASE, '--kernel-adds', 'delete s')
        self.assertIn('v: data_excl 0 on the forest, 65536 on the kernel', said)
        self.assertIn('s: only on the forest', said)
        self.assertNotIn('data extents of', said)

    def test_split(self):
        """The same bytes, in two extents."""
        with tempfile.NamedTemporaryFile('w', suffix='.script') as script:
            script.write('subvol v\nwrite v f 0 64k\n')
            script.flush()
            said = self.compare(1, '--kernel-adds', 'write v f 0 32k', '--kernel-adds',
                                'write v f 32k 32k', script.name)
        self.assertNotIn('data_rfer', said)
        self.assertIn('data extents of 65536 bytes: 1 on the forest, 0 on the kernel', said)

    def test_reduced(self):
        said = self.compare_text(1, self.BASE, '--reduce', '--kernel-adds', 'write v h 0 8k')
        self.assertTrue(said.split('a shorter script that differs:\n')[1].startswith(
            '    subvol v\n0 of 1 equal'), said)

    def test_fails(self):
        said = self.compare_text(1, self.BASE, '--kernel-adds', 'unlink v none')
        self.assertIn("'unlink v none' failed with ENOENT", said)

    def test_ended(self):
        """In the middle, when it has mounted."""
        with subprocess.Popen([TOOL, '--program', PROGRAM], env=self.environment,
                              stdout=subprocess.PIPE) as tool:
            self.assertIn(b'ok', tool.stdout.readline())
            tool.terminate()
            tool.stdout.read()
        self.assertEqual(tool.returncode, 128 + signal.SIGTERM)
        self.check_undone()

    def test_nothing(self):
        """Nothing compared is not equal."""
        self.compare_text(1, 'subvol v\n')


class State(unittest.TestCase):
    """exec --state on the forest, by hand."""

    def test_numbers(self):
        done = run(PROGRAM, 'exec', '--state', '-', '-',
                   input='subvol w\nwrite w f 0 1m\nwrite w f 0 64k\nsnapshot w v\n'
                         'write w f 128k 4k\ntruncate w f 8k\nsubvol u\nfallocate u f 0 64k\n')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout), {
            'schema': 'refstorm.state.v1',
            'subvolumes': [
                {'name': 'u', 'data_rfer': 65536, 'data_excl': 65536},
                {'name': 'v', 'data_rfer': 1048576 + 65536, 'data_excl': 1048576},
                {'name': 'w', 'data_rfer': 65536, 'data_excl': 0}],
            'data_extents': [[65536, 2], [1048576, 1]]})

    def test_file(self):
        """There whole, or not at all; a script that fails has no state."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'state')
            done = run(PROGRAM, 'exec', '--state', path, '-', input='subvol v\nunlink v f\n')
            self.assertEqual((done.returncode, os.listdir(folder)), (1, []), done.stderr)
            done = run(PROGRAM, 'exec', '--state', path, '-', input='subvol v\n')
            self.assertEqual((done.returncode, os.listdir(folder)), (0, ['state']), done.stderr)
            self.assertRegex(done.stdout, r'\A1 operations')
            done = run(PROGRAM, 'exec', '--state', path + '/x', '-', input='subvol v\n')
            self.assertEqual(done.returncode, 2, done.stderr)


def find_kernel():
    """Skips where there is no loop device or no btrfs, and for no other reason."""
    try:
        with compare_kernel.Kernel() as kernel:
            kernel.fresh()
    except compare_kernel.Unusable as missing:
        print(f'no loop device with btrfs here: {missing}')
        sys.exit(SKIP)


if __name__ == '__main__':
    print(f'REFSTORM_DATA_SEED={SEED}')
    find_kernel()
    result = unittest.main(exit=False).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Quotas turned on over opened images: every fixture that a forest can open, on each engine. What the first
rescan counts, and what changes leave of it, must be what the oracle counts; and each group what
the kernel stored, where it stored what is right."""
import glob
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'images')
sys.path[:0] = [FOLDER, os.path.join(os.path.dirname(FOLDER), 'support')]
import fixtures  # noqa: E402
from builds import is_sanitized  # noqa: E402

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 300
CHANGES = '''quota on
rescan wait
check
%s
write id:5 quota-images 0 40960
snapshot id:5 quota-images
check
write id:5 quota-images 4096 4096
rescan start
rescan wait
check
'''
# The kernel counts what is left of subvolumes that are being deleted, and keeps groups of those that are gone.
LEFT_OUT = ('half-dropped', 'half-dropped-shared', 'stale-group')
# What a forest says of an image that it cannot change.
CANNOT = 2


class Images(unittest.TestCase):
    def test_all(self):
        names = sorted({os.path.basename(path).split('.')[0]
                        for path in glob.glob(os.path.join(FOLDER, '*.img.zst'))})
        step = 6 if is_sanitized() else 1
        opened, compared = 0, 0
        for name in names[::step]:
            with self.subTest(image=name), tempfile.TemporaryDirectory() as into:
                images = fixtures.unpack(FOLDER, name, into)
                groups, about = fixtures.read_groups(os.path.join(FOLDER, name + '.groups'))
                expected = [] if name in LEFT_OUT else self.expected(groups, about)
                for engine in ('ledger', 'extent'):
                    done = self.run_on(images, engine, expected)
                    if done.returncode == CANNOT:
                        continue
                    self.assertEqual((done.returncode, done.stderr), (0, ''))
                    self.assertRegex(done.stdout, r' [1-9]\d* groups compared, ')
                    opened += 1
                    compared += len(expected)
        print(f'{opened} images and engines, {compared} numbers of the kernel compared')
        self.assertGreater(opened, 40 // step)
        self.assertGreater(compared, 200 // step)

    @staticmethod
    def expected(groups, about):
        """Of full accounting, the groups that are right as the kernel has them."""
        if about.get('mode') != 'full' or about.get('expect') != 'equal':
            return []
        return [f'expect {name.replace("0/", "id:") if name.startswith("0/") else name} rfer {rfer} excl {excl}'
                for name, (rfer, excl) in groups.items()]

    @staticmethod
    def run_on(images, engine, expected):
        options = [option for image in images for option in ('--image', image)]
        return subprocess.run([PROGRAM, 'exec', '--engine', engine, *options, '-'],
                              input=CHANGES % '\n'.join(expected), capture_output=True, text=True,
                              check=False, timeout=TIMEOUT_S)


if __name__ == '__main__':
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every fixture of tests/images: all groups at every level as the kernel has them, on 1, 2 and 5 threads."""
import glob
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'images'))
import fixtures  # noqa: E402

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'images')


def check(program, name, folder):
    """The number of differences, each printed."""
    groups, about = fixtures.read_groups(os.path.join(folder, name + '.groups'))
    with tempfile.TemporaryDirectory() as into:
        images = fixtures.unpack(folder, name, into)
        bad = 0
        for threads in ('1', '2', '5'):
            code, report, messages = fixtures.verify(program, images, '--threads', threads)
            if report is None:
                print(f'{name}: FAILED, exit code {code}: {messages}')
                return 1
            for line in fixtures.differences(groups, about, code, report):
                print(f'{name}: FAILED on {threads} threads: {line}')
                bad += 1
    print(fixtures.sets_line(name, report))
    return bad


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else FOLDER
    program = os.environ['REFSTORM']
    names = sorted(os.path.basename(path)[:-len('.groups')]
                   for path in glob.glob(os.path.join(folder, '*.groups')))
    if not names:
        print(f'no fixture in {folder}')
        return 1
    bad = sum(check(program, name, folder) for name in names)
    print(f'{len(names)} fixtures, {bad} differences')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())

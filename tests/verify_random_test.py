#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fresh random images made by the running kernel: all groups as `btrfs qgroup show` has them.

usage: verify_random_test.py [IMAGES [SEED]]    (2 images; seeds from the clock)
"""
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'images'))
import fixtures  # noqa: E402

SKIP = 77


def make(seed, into):
    """Exit code 2 says that no image can be made on this machine."""
    done = subprocess.run([os.path.join(HERE, 'images', 'make-random'), '--seed', str(seed), into],
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 2:
        print(done.stdout.decode(errors='replace'))
        sys.exit(SKIP)
    if done.returncode:
        sys.exit(f'seed {seed}: make-random: {done.stdout.decode(errors="replace")}')


def check(program, seed):
    """The number of differences, each printed; the image is kept if there are any."""
    into = tempfile.mkdtemp(prefix='refstorm-random-')
    make(seed, into)
    images = [os.path.join(into, 'random.img')]
    groups, about = fixtures.read_groups(os.path.join(into, 'random.groups'))
    code, report, messages = fixtures.verify(program, images)
    found = [f'exit code {code}: {messages}']
    if report is not None:
        found = fixtures.differences(groups, about, code, report)
        print(fixtures.sets_line(f'seed {seed}', report), flush=True)
    for line in found:
        print(f'seed {seed}: FAILED: {line}')
    if found:
        print(f'seed {seed}: kept {into}')
    else:
        subprocess.run(['rm', '-rf', into], check=True)
    return len(found)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**31)
    bad = sum(check(os.environ['REFSTORM'], first + number) for number in range(count))
    print(f'{count} images from seed {first} on, {bad} differences')
    return 1 if bad or not count else 0


if __name__ == '__main__':
    sys.exit(main())

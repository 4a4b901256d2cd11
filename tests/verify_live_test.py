#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--live on mounted file systems: equal to the kernel when nothing writes, equal or honest when something does."""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'images'))
import fixtures  # noqa: E402

SKIP = 77
STILL = ('multi-family', 'nested-groups', 'nodes-4k', 'raid1-two')


def call(*command):
    return subprocess.run(command, check=False, capture_output=True, text=True)


class Mounted:
    """A copy of a fixture, mounted read-write."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix='refstorm-live-')
        self.loops = []
        self.directory = os.path.join(self.folder, 'mnt')
        os.mkdir(self.directory)
        for image in fixtures.unpack(os.path.join(HERE, 'images'), self.name, self.folder):
            made = call('losetup', '-f', '--show', image)
            if made.returncode:
                self.__exit__()
                print(f'no loop device: {made.stderr}')
                sys.exit(SKIP)
            self.loops.append(made.stdout.strip())
        call('btrfs', 'device', 'scan', *self.loops)
        done = call('mount', '-t', 'btrfs', '-o', 'noatime', self.loops[0], self.directory)
        if done.returncode:
            self.__exit__()
            print(f'{self.name}: cannot be mounted: {done.stderr}')
            sys.exit(SKIP)
        return self

    def __exit__(self, *_):
        call('umount', self.directory)
        for loop in self.loops:
            call('losetup', '-d', loop)
        call('rm', '-rf', self.folder)

    def sync(self):
        call('btrfs', 'filesystem', 'sync', self.directory)

    def kernel_groups(self):
        """What `btrfs qgroup show` has, at every level."""
        shown = call('btrfs', 'qgroup', 'show', '--raw', self.directory)
        return {found[1]: (int(found[2]), int(found[3]))
                for found in re.finditer(r'^(\d+/\d+)\s+(\d+)\s+(\d+)', shown.stdout, re.M)}


def live(program, directory):
    """Exit code, the groups (None without a report), and what was said."""
    done = subprocess.run([program, 'verify', '--live', directory, '--json', '-'],
                          capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout:
        return done.returncode, None, done.stderr
    report = json.loads(done.stdout)
    groups = {group['id']: (group['rfer'], group['excl']) for group in report['groups']}
    return done.returncode, groups, done.stderr


def check_still(program, name):
    """Nothing writes."""
    with Mounted(name) as mounted:
        mounted.sync()
        code, groups, said = live(program, mounted.directory)
        kernel = mounted.kernel_groups()
        if not kernel:
            return [f'{name}: the kernel shows no group']
        if code or groups != kernel:
            return [f'{name}: exit code {code}, {groups} is not {kernel}: {said}']
    print(f'{name}: {len(kernel)} groups equal')
    return []


def write_for_a_while(mounted, stop, path):
    number = 0
    while not stop.is_set():
        with open(path, 'r+b') as out:
            out.seek(number % 64 * 4096)
            out.write(os.urandom(4096))
            os.fsync(out.fileno())
        if number % 4 == 0:
            mounted.sync()
        number += 1
        stop.wait(0.02)


def check_writing(program):
    """With a writer: numbers that some commit had, or that there was no still moment."""
    found, honest = [], 0
    with Mounted('multi-family') as mounted:
        path = os.path.join(mounted.directory, 'live-writer')
        with open(path, 'wb') as out:
            out.write(b'x' * (64 * 4096))
        mounted.sync()
        expected = mounted.kernel_groups()  # overwriting changes which bytes, not how many
        stop = threading.Event()
        writer = threading.Thread(target=write_for_a_while, args=(mounted, stop, path))
        writer.start()
        for _ in range(8):
            code, groups, said = live(program, mounted.directory)
            if groups is None and code == 2 and 'still moment' in said:
                honest += 1
            elif code or {k: v for k, v in groups.items() if k != '0/5'} != \
                    {k: v for k, v in expected.items() if k != '0/5'}:
                found.append(f'under a writer: exit code {code}, {groups} is not {expected}: {said}')
        stop.set()
        writer.join()
    print(f'under a writer: {8 - honest} readings of 8 equal, {honest} said that there was no still moment')
    return found


def check_refused(program):
    """A directory that lies on something else, and both kinds of source."""
    found = []
    for command, text in (([program, 'verify', '--live', '/proc'], 'btrfs'),
                          ([program, 'verify', '--live', '/nonexistent'], 'opened'),
                          ([program, 'verify', '--live', '/proc', 'x.img'], 'one too many')):
        done = call(*command)
        if done.returncode != 2 or text not in done.stderr:
            found.append(f'{command}: exit code {done.returncode}, {done.stderr}')
    return found


def main():
    program = os.environ['REFSTORM']
    found = check_refused(program)
    for name in STILL:
        found += check_still(program, name)
    found += check_writing(program)
    for line in found:
        print(f'FAILED: {line}')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())

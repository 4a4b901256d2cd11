#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Corrupted variants of the fixtures: verify ends well on each, and never with wrong numbers.

usage: corrupt_test.py [--only FIXTURE] [VARIANTS [SEED]]    (300 variants, seed 1)

Each must end with 0, 1 or 2, within 10 s and 1 GiB, without a report of a sanitizer; with 2 it
must say why, and with 0 all numbers must be those of the image before. The same seeds make the
same variants.
"""
import collections
import glob
import json
import multiprocessing
import os
import re
import select
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, 'images')
sys.path.insert(0, FOLDER)
import fixtures  # noqa: E402

TIME_S = 10
MEMORY_BYTES = 1 << 30
SANITIZER = re.compile(rb'Sanitizer|runtime error:')


def run(program, images, threads, out):
    """Exit code (None: it had to be killed), report text, messages, seconds, most memory."""
    out.seek(0)
    out.truncate()
    with tempfile.TemporaryFile() as messages:
        begin = time.monotonic()
        child = subprocess.Popen([program, 'verify', '--threads', str(threads), '--json', '-', *images],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=messages)
        ended = os.pidfd_open(child.pid)
        done = select.select([ended], [], [], 2 * TIME_S)[0]
        os.close(ended)
        if not done:
            child.kill()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        out.seek(0)
        messages.seek(0)
        return (child.returncode if done else None, out.read(), messages.read(), seconds,
                usage.ru_maxrss * 1024)


def numbers(report):
    """What must not differ."""
    groups = {group['id']: tuple(group[name] for name in ('rfer', 'excl', 'data_rfer', 'data_excl'))
              for group in report['groups']}
    return report['mode'], report['referenced_bytes'], groups


def same_numbers(after, before, repaired):
    """An image that says, under a right checksum, that quotas are of another mode is believed."""
    if after[0] == before[0]:
        return after == before
    if 'simple' in (after[0], before[0]):
        return repaired
    return repaired and after[1:] == before[1:]


def faults(result, before, repaired):
    """What is wrong with how a run ended, a line each."""
    code, text, messages, seconds, memory = result
    found = []
    if code not in (0, 1, 2):
        found.append(f'exit code {code}')
    if seconds > TIME_S:
        found.append(f'took {seconds:.1f} s')
    if memory > MEMORY_BYTES:
        found.append(f'took {memory} bytes of memory')
    if SANITIZER.search(messages):
        found.append('a sanitizer reported')
    if code == 2 and not messages.strip():
        found.append('exit code 2 without a message')
    if code in (0, 1):
        try:
            after = numbers(json.loads(text))
            if code == 0 and not same_numbers(after, before, repaired):
                found.append(f'exit code 0, but other numbers: {after} for {before}')
        except (ValueError, KeyError) as error:
            found.append(f'exit code {code} and no report: {error!r}')
    return found


def try_fixture(work):
    """All variants of one share; counts, and a text for each that is bad."""
    name, seeds = work
    program = os.environ['REFSTORM']
    counts, bad = collections.Counter(), []
    with tempfile.TemporaryDirectory(prefix='refstorm-corrupt-') as into, \
            tempfile.TemporaryFile() as out:
        images = fixtures.unpack(FOLDER, name, into)
        intact = run(program, images, 1, out)
        before = numbers(json.loads(intact[1]))
        maker = subprocess.Popen([os.path.join(os.environ['REFSTORM_BUILD'], 'tests', 'corrupt'), *images],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for seed in seeds:
            maker.stdin.write(f'{seed}\n')
            maker.stdin.flush()
            what = maker.stdout.readline().strip()
            if not what:
                bad.append(f'{name} seed {seed}: the maker of variants ended')
                break
            result = run(program, images, 1 + seed % 3, out)
            counts['made'] += 1
            counts[f'exit {result[0]}'] += 1
            counts['super passed'] += 'super=1' in what
            counts[what.split()[1]] += 1
            for fault in faults(result, before, 'repaired=1' in what):
                bad.append(f'{name} seed {seed} ({what}): {fault}\n' +
                           result[2].decode(errors='replace')[:3000])
            counts['longest ms'] = max(counts['longest ms'], int(result[3] * 1000))
            counts['most KiB'] = max(counts['most KiB'], result[4] >> 10)
        maker.stdin.close()
        maker.wait()
        # What is undone must be as it was.
        again = run(program, images, 1, out)
        if (again[0], numbers(json.loads(again[1] or b'{"mode":0,"referenced_bytes":0,"groups":[]}'))) != \
                (intact[0], before):
            bad.append(f'{name}: after all was undone, the image is not as it was')
    return counts, bad


def shares(names, variants, first):
    """Variants in turn over the fixtures, in shares that take about as long as one another."""
    for number, name in enumerate(names):
        seeds = list(range(first + number, first + variants, len(names)))
        for at in range(0, len(seeds), 100):
            yield name, seeds[at:at + 100]


def main():
    arguments = sys.argv[1:]
    names = sorted(os.path.basename(path)[:-len('.groups')]
                   for path in glob.glob(os.path.join(FOLDER, '*.groups')))
    if arguments[:1] == ['--only']:
        names = [arguments[1]]
        del arguments[:2]
    variants = int(arguments[0]) if arguments else 300
    first = int(arguments[1]) if len(arguments) > 1 else 1
    counts, bad = collections.Counter(), []
    begin = time.monotonic()
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        for some, found in pool.imap_unordered(try_fixture, shares(names, variants, first)):
            for what in ('longest ms', 'most KiB'):
                counts[what] = max(counts[what], some.pop(what, 0))
            counts += some
            bad += found
            for text in found:
                print(f'FAILED: {text}', flush=True)
    for what, count in sorted(counts.items()):
        print(f'{count:8}  {what}')
    print(f'{counts["made"]} variants of {len(names)} fixtures from seed {first} on in '
          f'{time.monotonic() - begin:.0f} s, {len(bad)} bad')
    if not variants or 2 * counts['super passed'] < counts['made']:
        print('FAILED: fewer than half of the variants passed the super block')
        return 1
    return 1 if bad or counts['made'] != variants else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What reclaim says, against really deleting: on fresh images made by the running kernel.

usage: reclaim_images_test.py [IMAGES [SEED]]    (1 image; seeds from the clock)

The bytes that all trees reference fall by what reclaim said, with one thing taken out: the name of
a deleted subvolume goes out of the directory that it stands in. The top level's own tree, which
nothing shares here, may have a leaf less then: its change is left out. Where a subvolume that
stays holds the directory, and a snapshot shares its leaves, the kernel copies those that change:
check_directories looks at just that; all other sets hold a subvolume with all that stands in it.
"""
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = os.path.join(HERE, 'images')
sys.path.insert(0, IMAGES)
import fixtures  # noqa: E402
import reclaim  # noqa: E402

SKIP = 77
SETS_EACH = 4


def run(script, *arguments):
    """A script of tests/images. Exit code 2 says that this machine cannot do it."""
    done = subprocess.run([os.path.join(IMAGES, script), *arguments], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 2:
        print(done.stdout.decode(errors='replace'))
        sys.exit(SKIP)
    if done.returncode:
        sys.exit(f'{script} {arguments}: {done.stdout.decode(errors="replace")}')


def account(program, image):
    """Groups by id, and the bytes that trees other than the top level's reference."""
    code, report, messages = fixtures.verify(program, [image], '--no-refs')
    if report is None:
        sys.exit(f'verify: exit code {code}: {messages}')
    groups = {group['id']: group for group in report['groups']}
    top = groups['0/5']
    if top['rfer'] != top['excl']:
        sys.exit('the top level shares something: its change cannot be taken out')
    return groups, report['referenced_bytes'] - top['rfer']


def paths(groups):
    """Path of each subvolume that can be deleted, by id."""
    return {name: group['path'] for name, group in groups.items()
            if group['path'] not in (None, '/')}


def closed(chosen, path_of):
    """With a subvolume all that stand inside it, and those that it stands inside of."""
    tops = {path_of[name].split('/')[0] for name in chosen
            if any(path_of[name].startswith(other + '/') for other in path_of.values())}
    tops |= {path_of[name] for name in chosen}
    return sorted(name for name, path in path_of.items()
                  if path in tops or path.split('/')[0] in tops)


def after_deleting(image, path_of, chosen, *options):
    """A copy of the image without them: those inside others go first."""
    copy = image + '.copy'
    subprocess.run(['cp', '--sparse=always', image, copy], check=True)
    run('delete-subvols', *options, copy,
        *sorted((path_of[name] for name in chosen), key=lambda path: -path.count('/')))
    return copy


def check_set(program, image, before, chosen):
    """Nothing, or a line that says what differs."""
    groups, referenced = before
    said = reclaim.freed(program, [image], chosen)
    _, left = account(program, after_deleting(image, paths(groups), chosen))
    if referenced - left == said:
        return []
    return [f'{" ".join(chosen)}: {said} said, {referenced - left} freed']


def check_best(program, image, before):
    """The first three of the list, one after the other, each frees what was said."""
    groups, referenced = before
    code, report, messages = reclaim.reclaim(program, [image], (), '--best', '3')
    if code:
        return [f'--best: exit code {code}: {messages}']
    found = []
    for count in range(1, len(report['best']) + 1):
        chosen = [entry['id'] for entry in report['best'][:count]]
        if closed(chosen, paths(groups)) != sorted(chosen):
            break
        _, left = account(program, after_deleting(image, paths(groups), chosen))
        if referenced - left != report['best'][count - 1]['total']:
            found.append(f'best {" ".join(chosen)}: {referenced - left} freed, {report["best"]}')
    return found


def check_deleted(program, image, before, chosen):
    """Half dropped, not begun or gone: what is deleted counts as gone. Also how many were left."""
    groups, _ = before
    unsettled = after_deleting(image, paths(groups), chosen, '--at-once')
    _, report, messages = reclaim.reclaim(program, [unsettled], (), '--each')
    seen, _ = account(program, unsettled)
    listed = [entry['id'] for entry in report['each']]
    left = sum(name in chosen and group['rfer'] > 0 for name, group in seen.items())
    run('delete-subvols', unsettled)
    _, settled, _ = reclaim.reclaim(program, [unsettled], (), '--each')
    if report['each'] == settled['each'] and set(listed) == set(paths(groups)) - set(chosen):
        return [], left
    return [f'deleted {chosen}: {report["each"]}, once they are gone {settled["each"]}; '
            f'{messages}'], left


def metadata_excl(group):
    return group['excl'] - group['data_excl']


def check_directories(program, image, before):
    """A subvolume goes, the one around it stays, and a snapshot shares its leaves: some are copied."""
    groups, referenced = before
    by_path = {path: name for name, path in paths(groups).items()}
    inner, outer = by_path['box1/in2'], by_path['box1']
    said = reclaim.freed(program, [image], [inner])
    after, left = account(program, after_deleting(image, paths(groups), [inner]))
    copied = metadata_excl(after[outer]) - metadata_excl(groups[outer])
    if copied > 0 and referenced - left == said - copied:
        return []
    return [f'box1/in2: {said} said, {copied} for copies, {referenced - left} freed']


def check_image(program, image, draw):
    """Lines that say what differs, and how many subvolumes were seen deleted but not gone."""
    before = account(program, image)
    path_of = paths(before[0])
    found = []
    for _ in range(SETS_EACH):
        chosen = draw.sample(sorted(path_of), draw.randint(1, len(path_of)))
        found += check_set(program, image, before, closed(chosen, path_of))
    found += check_best(program, image, before)
    chosen = closed(draw.sample(sorted(path_of), len(path_of) // 2), path_of)
    lines, left = check_deleted(program, image, before, chosen)
    return found + lines, left


def check_random(program, seed, into):
    run('make-random', '--seed', str(seed), into)
    image = os.path.join(into, 'random.img')
    groups, _ = fixtures.read_groups(os.path.join(into, 'random.groups'))
    found, left = check_image(program, image, random.Random(seed))
    return found + reclaim.differences(program, [image], groups), left


def check_nested(program, seed, into):
    run('make-nested', into)
    image = os.path.join(into, 'nested.img')
    found, left = check_image(program, image, random.Random(seed))
    return found + check_directories(program, image, account(program, image)), left


def check(name, function, program, seed):
    """The number of differences, each printed; the image is kept if there are any."""
    into = tempfile.mkdtemp(prefix='refstorm-reclaim-')
    found, left = function(program, seed, into)
    print(f'{name}, seed {seed}: {len(found)} differences; '
          f'{left} subvolumes seen deleted but not gone', flush=True)
    for line in found:
        print(f'{name}, seed {seed}: FAILED: {line}')
    if found:
        print(f'{name}, seed {seed}: kept {into}')
    else:
        subprocess.run(['rm', '-rf', into], check=True)
    return len(found)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**31)
    program = os.environ['REFSTORM']
    bad = check('nested', check_nested, program, first)
    for seed in range(first, first + count):
        bad += check('random', check_random, program, seed)
    print(f'{count} random images from seed {first} on, {bad} differences')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every fixture with full quotas: what deleting each subvolume, or all of a group, frees is its excl.

Where a deleted subvolume is still being taken apart the kernel's numbers count it, and reclaim
does not: there the difference itself is looked at.
"""
import glob
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'images'))
import fixtures  # noqa: E402
import reclaim  # noqa: E402

FOLDER = os.path.join(HERE, 'images')
# Subvolumes that are deleted and not gone.
HALF_DROPPED = {'half-dropped': '0/256', 'half-dropped-shared': '0/257'}


def check_half_dropped(program, images, groups, dropped):
    """It is refused and not listed, and does not hold what another shares with it alone."""
    found = []
    code, _, messages = reclaim.reclaim(program, images, (dropped,))
    if code != 2 or 'deleted already' not in messages:
        found.append(f'{dropped}: exit code {code}: {messages}')
    _, report, messages = reclaim.reclaim(program, images, (), '--each')
    each = {entry['id']: entry['bytes'] for entry in report['each']}
    if set(each) != set(groups) - {dropped, '0/5'}:
        return found + [f'--each lists {sorted(each)}']
    less = [name for name in each if each[name] < groups[name][1]]
    more = [name for name in each if each[name] > groups[name][1]]
    if less or (len(each) > 1 and not more):
        found.append(f'{each}, the kernel has {groups}')
    # Nothing is shared with the top level: as the last one it frees all that it references.
    total = reclaim.freed(program, images, each)
    for name in each:
        rest = [other for other in each if other != name]
        if total - (reclaim.freed(program, images, rest) if rest else 0) != groups[name][0]:
            found.append(f'{name}: as the last one it does not free its rfer')
    return found


def check(program, name, folder):
    """The number of differences, each printed; None where it does not apply."""
    groups, about = fixtures.read_groups(os.path.join(folder, name + '.groups'))
    if about['mode'] != 'full':
        return None
    with tempfile.TemporaryDirectory() as into:
        images = fixtures.unpack(folder, name, into)
        if name in HALF_DROPPED:
            found = check_half_dropped(program, images, groups, HALF_DROPPED[name])
        else:
            found = reclaim.differences(program, images, groups)
    for line in found:
        print(f'{name}: FAILED: {line}')
    return len(found)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else FOLDER
    names = sorted(os.path.basename(path)[:-len('.groups')]
                   for path in glob.glob(os.path.join(folder, '*.groups')))
    results = [check(os.environ['REFSTORM'], name, folder) for name in names]
    done = [bad for bad in results if bad is not None]
    print(f'{len(done)} of {len(names)} fixtures, {sum(done)} differences')
    return 1 if sum(done) or not done else 0


if __name__ == '__main__':
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Images with the kernel's numbers beside them, compared with what `refstorm verify` says."""
import glob
import json
import os
import re
import resource
import subprocess

# A sanitizer build needs more; what verify itself may take is bounded in bench-verify.
TIMEOUT_S = 120


def unpack(folder, name, into):
    """Decompresses all devices of a fixture; returns their paths in order."""
    packed = sorted(glob.glob(os.path.join(folder, name + '.img.zst')) +
                    glob.glob(os.path.join(folder, name + '.[0-9].img.zst')))
    images = []
    for path in packed:
        image = os.path.join(into, os.path.basename(path)[:-len('.zst')])
        subprocess.run(['zstd', '-q', '-d', '-f', '--sparse', path, '-o', image], check=True)
        images.append(image)
    return images


def read_groups(path):
    """The kernel's numbers: {'0/5': (rfer, excl)}, and the words behind '# mode:' and '# expect:'."""
    groups, about = {}, {}
    with open(path, encoding='utf-8') as lines:
        for line in lines:
            marked = re.match(r'# (mode|expect): (\S+)', line)
            if marked:
                about[marked[1]] = marked[2]
            elif not line.startswith('#') and line.strip():
                group, rfer, excl = line.split()
                groups[group] = (int(rfer), int(excl))
    return groups, about


def verify(program, images, *options):
    """Exit code, report (None if there is none) and messages."""
    done = subprocess.run([program, 'verify', *options, '--json', '-', *images],
                          capture_output=True, timeout=TIMEOUT_S, check=False)
    report = json.loads(done.stdout) if done.stdout else None
    return done.returncode, report, done.stderr.decode(errors='replace')


def differences(groups, about, code, report):
    """What is not as the kernel has it, a line each."""
    found = []
    seen = {group['id']: group for group in report['groups']}
    equal = about['expect'] == 'equal'
    if report['mode'] != about['mode']:
        found.append(f'mode is {report["mode"]}, expected {about["mode"]}')
    if code not in ((0,) if equal or about['expect'] == 'no-stored' else (0, 1)):
        found.append(f'exit code {code}')
    if set(seen) != set(groups):
        found.append(f'groups {sorted(set(seen) ^ set(groups))} are on one side only')
    for name in sorted(set(seen) & set(groups)):
        group = seen[name]
        if (group['rfer'], group['excl']) != groups[name]:
            found.append(f'{name}: rfer {group["rfer"]} excl {group["excl"]}, '
                         f'the kernel has {groups[name]}')
        if equal and (group['stored_rfer'], group['stored_excl'], group['match']) != (*groups[name], True):
            found.append(f'{name}: stored {group["stored_rfer"]} {group["stored_excl"]} '
                         f'match {group["match"]}, the kernel has {groups[name]}')
        if not equal and group['match'] is not None:
            found.append(f'{name}: match is {group["match"]}, though nothing that holds is stored')
    return found


def sets_line(name, report):
    """Sets and runs a set, which every run prints."""
    sets = report['root_sets']
    runs = sets['runs'] / sets['distinct'] if sets['distinct'] else 0
    return (f'{name}: {len(report["groups"])} groups, {sets["distinct"]} root sets, '
            f'{runs:.2f} runs a set, {report["referenced_bytes"]} bytes referenced')


def peak_child_bytes():
    """The largest of all programs run so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024

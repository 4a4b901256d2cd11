# SPDX-License-Identifier: MIT
"""`refstorm reclaim` on images with the kernel's numbers beside them."""
import json
import subprocess

import fixtures


def reclaim(program, images, names, *options):
    """Exit code, report (None if there is none) and messages."""
    done = subprocess.run([program, 'reclaim', *options, '--json', '-', *images, '--', *names],
                          capture_output=True, timeout=fixtures.TIMEOUT_S, check=False)
    report = json.loads(done.stdout) if done.stdout else None
    return done.returncode, report, done.stderr.decode(errors='replace')


def freed(program, images, names):
    """Bytes; a failure is an exception."""
    code, report, messages = reclaim(program, images, names)
    if code:
        raise RuntimeError(f'reclaim {names}: exit code {code}: {messages}')
    return report['bytes']


def differences(program, images, groups):
    """A line for each subvolume, and each group above, whose bytes are not the kernel's exclusive ones.

    Holds where no deleted subvolume is left. A group with the top level is refused.
    """
    code, report, messages = reclaim(program, images, (), '--each')
    if code:
        return [f'--each: exit code {code}: {messages}']
    each = {entry['id']: entry['bytes'] for entry in report['each']}
    wanted = {name: excl for name, (_, excl) in groups.items()
              if name.startswith('0/') and name in each}
    found = [f'{name}: {each[name]} alone, the kernel has {wanted.get(name)}'
             for name in sorted(each) if each[name] != wanted.get(name)]
    for name, (_, excl) in groups.items():
        if name in each or name == '0/5':
            continue
        code, report, messages = reclaim(program, images, (name,))
        if code == 2 and ('the top level' in messages or
                          (name.startswith('0/') and 'no subvolume' in messages)):
            continue
        if code or report['bytes'] != excl:
            found.append(f'{name}: {report and report["bytes"]}, the kernel has {excl}; {messages}')
    return found

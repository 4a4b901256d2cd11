#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The code of rs_operation_record: no locked instruction on its way, and a restartable sequence.

usage: record_code_test.py    (of the build in $REFSTORM_BUILD, the program in $REFSTORM)

Walks all ways through the function's machine code from its beginning to where it returns or calls
something, which only the slow paths do, and the stores of the other record paths. First shows, on
small objects, that it finds what must not be there.
"""
import os
import platform
import re
import subprocess
import sys
import tempfile

FUNCTION = 'rs_operation_record'
SIGNATURE = '0f b9 3d 53 30 05 53'  # ud1 with RSEQ_SIG
JUMP = re.compile(r'(?:bnd |notrack )?(j\w+)\s+([0-9a-f]+)\b')
LEAVE = re.compile(r'(?:bnd |notrack )?(call|ret|jmp\s+\*|ud2|hlt)')
LOCKED = re.compile(r'lock\b|xacquire|xrelease|xchg\w*\s.*\(|xchg\w*\s.*%fs:|mfence|syscall|cpuid')
AREA_STORE = re.compile(r'mov\w*\s+%(\w+),%fs:')
WIDE_STORE = re.compile(r'v?mov\w+\s+%xmm\d+,.*\(')
COMMIT = re.compile(r'movq?\s+%r\w+,\(%r\w+\)$')


class Fault(Exception):
    """What is wrong with the code."""


def objdump(*arguments):
    return subprocess.run(['objdump', *arguments], check=True, capture_output=True, text=True).stdout


def instructions(path):
    """Address -> text, of the function, in order."""
    found = {}
    inside = False
    for line in objdump('-d', '--no-show-raw-insn', f'--disassemble={FUNCTION}', path).splitlines():
        if line.endswith('>:'):
            inside = line.endswith(f'<{FUNCTION}>:')
        match = re.match(r'\s*([0-9a-f]+):\s+(\S.*)', line)
        if inside and match:
            found[int(match[1], 16)] = match[2].split('#')[0].strip()
    return found


def walk(code):
    """The addresses that are reached without a call."""
    addresses = list(code)
    after = dict(zip(addresses, addresses[1:]))
    todo = [addresses[0]]
    seen = set()
    while todo:
        at = todo.pop()
        if at in seen or at not in code:
            continue
        seen.add(at)
        jump = JUMP.match(code[at])
        if jump:
            todo.append(int(jump[2], 16))
        if not LEAVE.match(code[at]) and not (jump and jump[1].startswith('jmp')):
            todo.append(after.get(at))
    return sorted(seen)


def restart_targets(path):
    """Where the handlers that stand behind the signature jump to."""
    targets = set()
    signed = False
    for line in objdump('-d', '-j', '__rseq_failure', path).splitlines():
        columns = line.split('\t')
        if len(columns) < 2 or not columns[0].strip().endswith(':'):
            continue
        jump = JUMP.match(columns[2].strip()) if len(columns) > 2 else None
        if signed and jump:
            targets.add(int(jump[2], 16))
        signed = columns[1].strip().startswith(SIGNATURE)
    return targets


def check_sequence(path, code, reached):
    """One on the way, which commits with its last store and is restarted from its beginning."""
    stores = [at for at in reached if AREA_STORE.match(code[at])]
    if not stores:
        raise Fault('no store to the thread\'s rseq area')
    begin = max(at for at in code if at < stores[0])
    if begin not in restart_targets(path):
        raise Fault(f'no handler behind the signature restarts at {begin:x}: {code[begin]}')
    wide = 0
    for at in [at for at in reached if at > stores[0]]:
        if WIDE_STORE.match(code[at]):
            wide += 1
        elif COMMIT.match(code[at]):
            if wide != 3:
                raise Fault(f'{wide} stores of 16 bytes before the commit, not 3')
            return
    raise Fault('no store that commits')


def check_locks(code, reached):
    for at in reached:
        if LOCKED.match(code[at]):
            raise Fault(f'{at:x}: {code[at]}')


def check(path, sequence=True):
    """How many instructions were looked at."""
    code = instructions(path)
    if not code:
        raise Fault(f'{path} has no {FUNCTION}')
    reached = walk(code)
    check_locks(code, reached)
    if sequence:
        check_sequence(path, code, reached)
    return len(reached)


WHOLE = '''
0:  lea 3f(%rip), %r10
    mov %r10, %fs:8(%rax)
    mov (%rdx), %r8
    movaps %xmm0, 256(%r8)
    movaps %xmm1, 272(%r8)
    movaps %xmm2, 288(%r8)
    mov %r9, (%r8)
    test %esi, %esi
    je 1f
    call elsewhere
    lock incq (%rdi)
1:  ret
3:  .long 0
    .pushsection __rseq_failure, "ax"
    .byte 0x0f, 0xb9, 0x3d
    .long 0x53053053
    jmp 0b
    .popsection
'''

# What is changed in it, and whether that is a fault.
SAMPLES = (
    ('', '', False),
    ('test %esi', 'lock incq (%rdi)\n test %esi', True),
    ('test %esi', 'xchg %rax, (%rdi)\n test %esi', True),
    ('test %esi', 'xchg %rax, %rdi\n test %esi', False),
    ('test %esi', 'mfence\n test %esi', True),
    ('call elsewhere', 'nop', True),
    ('1:  ret', '1: lock decl (%rdi)\n ret', True),
    ('mov %r10, %fs:8(%rax)', 'nop', True),
    ('0x53053053', '0x53053052', True),
    ('jmp 0b', 'jmp 1b', True),
    ('movaps %xmm2, 288(%r8)', 'nop', True),
    ('mov %r9, (%r8)', 'nop', True),
)


def self_test(folder):
    """The checks find each fault that is planted, and nothing where there is none."""
    for number, (what, instead, faulty) in enumerate(SAMPLES):
        path = os.path.join(folder, f'{number}.so')
        body = WHOLE.replace(what, instead) if what else WHOLE
        text = f'.globl {FUNCTION}\n.type {FUNCTION}, @function\n{FUNCTION}:\n{body}'
        text += f'.size {FUNCTION}, . - {FUNCTION}\n'
        subprocess.run(['as', '-o', path + '.o', '-'], input=text, text=True, check=True)
        subprocess.run(['ld', '-shared', '-o', path, path + '.o'], check=True)
        try:
            check(path)
            fault = None
        except Fault as found:
            fault = found
        if bool(fault) != faulty:
            sys.exit(f'self-test {number}, {what!r} -> {instead!r}: {fault or "nothing found"}')


def is_release(build):
    """Whether the build has no sanitizers, plants or windows, which call things on the way."""
    with open(os.path.join(build, 'CMakeCache.txt')) as cache:
        text = cache.read()
    return (re.search(r'^CMAKE_BUILD_TYPE:\w+=Release$', text, re.M) and
            re.search(r'^RS_SANITIZE:\w+=$', text, re.M) and
            not re.search(r'^RS_(PLANTS|WINDOWS):\w+=(ON|1)$', text, re.M))


def main():
    build = os.environ['REFSTORM_BUILD']
    if platform.machine() != 'x86_64' or not is_release(build):
        print('only for release builds on x86-64')
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        self_test(folder)
    paths = [os.environ.get('REFSTORM', ''), os.path.join(build, 'librefstorm.so')]
    checked = 0
    for path in paths:
        if not os.path.exists(path) or not instructions(path):
            continue
        try:
            print(f'{path}: {check(path)} instructions')
        except Fault as fault:
            sys.exit(f'{path}: {fault}')
        checked += 1
    if not checked:
        sys.exit(f'no {FUNCTION} in {paths}')


if __name__ == '__main__':
    main()

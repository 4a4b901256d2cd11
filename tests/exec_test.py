#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refstorm exec and refstorm script as their users see them: exit codes, messages, both back ends."""
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 120
PROFILES = ('mixed', 'overwrite', 'snapshots', 'clones', 'files', 'quota')
SEED = int(os.environ.get('REFSTORM_DATA_SEED') or time.time_ns() % 2**31)


def run(*arguments, **options):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False,
                          timeout=TIMEOUT_S, **options)


class Case(unittest.TestCase):
    def check(self, done, code, err=''):
        self.assertEqual(done.returncode, code, done.stderr)
        for line in done.stderr.splitlines():
            self.assertTrue(line.startswith('refstorm: '), line)
        self.assertIn(err, done.stderr)
        if not err:
            self.assertEqual(done.stderr, '')

    def exec(self, text, code, err='', arguments=()):
        done = run('exec', *arguments, '-', input=text)
        self.check(done, code, err)
        return done


class Scripts(Case):
    def test_same_seed(self):
        scripts = [run('script', '--seed', seed, '--ops', '500', '--profile', profile)
                   for profile in PROFILES for seed in ('1', '1', '2')]
        for one, same, other in zip(*[iter(scripts)] * 3, strict=True):
            self.check(one, 0)
            self.assertEqual(one.stdout, same.stdout)
            self.assertNotEqual(one.stdout, other.stdout)
            self.assertEqual(len(one.stdout.splitlines()), 501)

    def test_options(self):
        done = run('script', '--ops', '2k', '--no-defrag', '--check', '--threads', '3')
        self.check(done, 0)
        self.assertNotIn('defrag s', done.stdout)
        self.assertIn('\ncheck\n', done.stdout)
        self.assertEqual(set(re.findall('^@[0-9]+', done.stdout, re.M)), {'@0', '@1', '@2'})
        self.assertNotIn('check', run('script', '--ops', '2k').stdout)

    def test_refused(self):
        for arguments, text in (
                ([], '--ops is wanted'), (['--ops', '0'], '--ops is wanted'),
                (['--ops', 'x'], "--ops: 'x' is no number"),
                (['--ops', '1', '--profile', 'none'], "there is no profile 'none'"),
                (['--ops', '1', '--threads', '65'], '--threads: 65 is too large'),
                (['--ops', '1', 'x'], "'x' is one too many"),
                (['--ops', '1', '--nothing'], "unknown option '--nothing'"),
                (['--ops'], "option '--ops' needs a value")):
            done = run('script', *arguments)
            self.check(done, 2, text)
            self.assertEqual(done.stdout, '')
        for profile in PROFILES:
            self.assertIn(profile, run('script', '--ops', '1', '--profile', 'none').stderr)

    def test_lost(self):
        with open('/dev/full', 'w', encoding='utf-8') as full:
            done = subprocess.run([PROGRAM, 'script', '--ops', '9999'], stdout=full,
                                  stderr=subprocess.PIPE, check=False, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 2)


class Arguments(Case):
    def test_help(self):
        for command in ('exec', 'script'):
            done = run('help', command)
            self.check(done, 0)
            self.assertIn(f'usage: refstorm {command} ', done.stdout)
            self.assertIn(f'  {command} ', run('--help').stdout)

    def test_refused(self):
        for arguments, text in (
                ([], 'no script given'), (['a', 'b'], 'one script is run at a time'),
                (['--engine', 'oper', '-'], '--engine oper: not available yet'),
                (['--engine', 'simple', '-'], '--engine simple: not available yet'),
                (['--engine', 'best', '-'], "--engine: 'best' is none of ledger and extent"),
                (['--engine', 'ledger', '--mount', 'y', '-'], 'cannot be given with --mount'),
                (['--record', 'fast', '-'], "--record: 'fast' is none of"),
                (['--threads', '0', '-'], 'at least one thread'),
                (['--node-bytes', '0', '-'], '--node-bytes: 0 is too small'),
                (['--node-bytes', '4k', '--mount', 'y', '-'], 'cannot be given with --mount'),
                (['--node-bytes', '4k', '--image', 'y', '-'], 'cannot be given with --image'),
                (['--image', 'x', '--mount', 'y', '-'], 'cannot be given together'),
                (['--record', 'locked', '--mount', 'y', '-'], 'cannot be given with --mount'),
                (['--nothing', '-'], "unknown option '--nothing'"),
                (['--mount'], "option '--mount' needs a value"),
                (['/nonexistent'], '/nonexistent: cannot be read: No such file'),
                (['/'], '/: cannot be read: Is a directory')):
            done = run('exec', *arguments, stdin=subprocess.DEVNULL)
            self.check(done, 2, text)
            self.assertEqual(done.stdout, '')

    def test_places(self):
        self.exec('commit\n\nwirte v f 0 4k\n', 2,
                  "standard input:3: there is no operation 'wirte'")
        with tempfile.NamedTemporaryFile('w', suffix='.script') as script:
            script.write('# one\nsubvol v x\n')
            script.flush()
            self.check(run('exec', script.name), 2, f"{script.name}:2: subvol: 'x' is one too many")
        self.exec('commit\n', 2, '/proc: not a directory of a mounted btrfs', ('--mount', '/proc'))
        self.exec('commit\n', 2, '/nonexistent: cannot be opened', ('--mount', '/nonexistent'))
        self.exec('commit\n', 2, '/nonexistent', ('--image', '/nonexistent'))
        self.exec('commit\n', 2, '/dev/null', ('--image', '/dev/null'))
        self.exec('commit\n', 2, 'not a power of two', ('--node-bytes', '5000'))


class Both:
    """What holds on each back end; `arguments` choose it."""

    def go(self, text, code, err=''):
        return self.exec(text, code, err, self.arguments())

    def test_runs(self):
        done = self.go('subvol v\nwrite v f 0 64k\nsnapshot -r v s\nfails EROFS write s f 0 4k\n'
                       'clone s f 4k 8k v g 0\ntruncate v g 4k\ndelete s\ndrop-wait\ncommit\n', 0)
        self.assertRegex(done.stdout, r'\A9 operations, 1 of them failed as they should, 0 checks')

    def test_nothing(self):
        self.go('', 6, 'the script has no operation')
        self.go('# nothing\n', 6, 'the script has no operation')

    def test_not_available(self):
        for line in ('limit v rfer 1', 'dirty v f 0 4k', 'flush', 'drop-dirty v f 0 4k', 'balance',
                     *self.LACKS):
            name = ' '.join(re.findall('^(?:rescan pause|expect reclaim|\\S+)', line))
            self.go(f'subvol v\n{line}\n', 2, f'standard input:2: {name}: not available yet on ')
        self.go('quota on simple\n', 2, "quota on: the engine 'simple' is not available yet")

    def test_quota(self):
        self.go('subvol v\n'
                'fails ENOTCONN group create 1/1\n'
                'fails ENOTCONN rescan start\n'
                'fails ENOTCONN expect v rfer 0 excl 0\n'
                'quota on\n'
                'rescan wait\n'
                'group create 1/1\n'
                'group create 2/1\n'
                'fails EEXIST group create 1/1\n'
                'group assign v 1/1\n'
                'group assign 1/1 2/1\n'
                'fails EEXIST group assign v 1/1\n'
                'fails EINVAL group assign 2/1 1/1\n'
                'fails EBUSY group remove 1/1\n'
                'fails EBUSY group remove v\n'
                'fails ENOENT group remove 1/2\n'
                'fails ENOENT group assign none 1/1\n'
                'write v f 0 1m\n'
                'snapshot v s group 1/1\n'
                'snapshot -r v r\n'
                'rescan start\n'
                'rescan wait\n'
                'expect v rfer 1064960 excl 16384\n'
                'expect s rfer 1064960 excl 16384\n'
                'expect 1/1 rfer 1081344 excl 32768\n'
                'expect 2/1 rfer 1081344 excl 32768\n'
                'fails ENOENT expect 1/2 rfer 0 excl 0\n'
                'fails EUCLEAN expect v rfer 1064960 excl 0\n'
                'group unassign 1/1 2/1\n'
                'fails ENOENT group unassign 1/1 2/1\n'
                'group remove 2/1\n'
                'group unassign s 1/1\n'
                'rescan start\n'
                'rescan wait\n'
                'expect 1/1 rfer 1064960 excl 16384\n'
                'quota off\n'
                'snapshot v t group 1/1\n', 0)

    def test_expectation(self):
        self.go('subvol v\nquota on\nrescan wait\nexpect v rfer 4096 excl 8192\n', 1,
                "standard input:4: 'expect v rfer 4096 excl 8192': expected rfer 4096 excl 8192, "
                'found rfer 16384 excl 16384')

    def test_wrong(self):
        self.go('subvol v\nwrite w f 0 4k\n', 1,
                "standard input:2: 'write w f 0 4k' failed with ENOENT (No such file or directory)")
        self.go('subvol v\nfails EINVAL write v f 0 4k\n', 1, 'has not failed; wanted: EINVAL')
        self.go('subvol v\nfails EINVAL unlink v f\n', 1, 'failed with ENOENT')
        self.go('subvol v\nwrite v f 0 129m\n', 1, 'failed with EFBIG')

    def test_errors(self):
        """Each error that both have to give."""
        self.go('subvol v\n'
                'fails EEXIST subvol v\n'
                'fails ENOENT write none f 0 4k\n'
                'fails ENOENT punch v f 0 4k\n'
                'fails ENOENT defrag v f\n'
                'fails ENOENT unlink v f\n'
                'fails ENOENT clone v f 0 4k v g 0\n'
                'fails ENOENT delete none\n'
                'fails ENOENT snapshot none w\n'
                'write v f 0 16k\n'
                'fails ENOENT dedupe v f 0 4k v g 0\n'
                'fails EINVAL clone v f 8k 12k v g 0\n'
                'fails EINVAL clone v f 16k 4k v g 0\n'
                'fails EINVAL clone v f 0 8k v f 4k\n'
                'fails EINVAL clone v f 0 8k v f 0\n'
                'unlink v g\n'
                'write v g 0 8k\n'
                'fails EINVAL dedupe v f 0 8k v g 4k\n'
                'fails EINVAL dedupe v f 12k 8k v g 0\n'
                'snapshot -r v s\n'
                'fails EEXIST snapshot v s\n'
                'fails EROFS write s f 0 4k\n'
                'fails EROFS write s new 0 4k\n'
                'fails EROFS clone v f 0 4k s f 0\n'
                'fails EROFS truncate s f 0\n'
                'fails EROFS punch s f 0 4k\n'
                'fails EROFS fallocate s f 0 4k\n'
                'fails EROFS unlink s f\n'
                'fails EROFS defrag s f\n'
                'delete s\n'
                'fails ENOENT unlink s f\n'
                'subvol s\n'
                'fails ENOENT unlink s f\n'
                'write s f 0 4k\n'
                'unlink s f\n'
                'fails ENOENT punch s f 0 4k\n'
                'write s f 0 4k\n'
                'punch s f 0 4k\n', 0)

    def test_random(self):
        for number, profile in enumerate(PROFILES):
            for threads in ('0', '3'):
                arguments = ['script', '--seed', str(SEED + number), '--ops', '300', '--profile',
                             profile, '--threads', threads]
                with self.subTest(arguments=arguments):
                    self.new_place()
                    done = self.go(run(*arguments).stdout, 0)
                    self.assertRegex(done.stdout, r'\A300 operations')


class OnForest(Both, Case):
    LACKS = ()

    def arguments(self):
        return ()

    def new_place(self):
        pass

    def test_checks(self):
        done = self.go('subvol v\ncheck\nwrite v f 0 1m\nsnapshot v s\nwrite v f 4k 4k\ncheck\n', 0)
        self.assertIn(' 2 checks', done.stdout)

    def test_engines(self):
        """The one that is named counts, before that of the arguments."""
        for engine, lines in (('ledger', 'quota on'), ('extent', 'quota on ledger'),
                              ('ledger', 'quota on ledger')):
            self.exec(f'subvol v\n{lines}\nrescan wait\nwrite v f 0 64k\n'
                      'expect reclaim v 81920\n', 0, arguments=('--engine', engine))
        for engine, lines in (('extent', 'quota on'), ('ledger', 'quota on extent')):
            self.exec(f'subvol v\n{lines}\nfails EBUSY quota on ledger\nrescan wait\n'
                      'fails EOPNOTSUPP expect reclaim v 81920\n', 0,
                      arguments=('--engine', engine))

    def test_reclaim(self):
        self.go('subvol v\nquota on\nrescan wait\nexpect reclaim v 4096\n', 1,
                "'expect reclaim v 4096': expected 4096 bytes, found 16384")

    def test_records(self):
        for record in ('percpu', 'locked', 'hashed'):
            text = run('script', '--seed', str(SEED), '--ops', '2000', '--check', '--threads',
                       '4').stdout
            self.exec(text, 0, arguments=('--record', record))
            self.exec(text, 0, arguments=('--record', record, '--threads', '1'))


class OnKernel(Both, Case):
    """A fresh btrfs in a file, on a loop device. Each test has a directory of its own."""
    loop = None
    LACKS = ('rescan pause', 'expect reclaim v 0')

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix='refstorm-exec-')
        cls.places = 0
        image = os.path.join(cls.folder.name, 'image')
        cls.mounted = os.path.join(cls.folder.name, 'mnt')
        os.mkdir(cls.mounted)
        cls.addClassCleanup(cls.undo)
        with open(image, 'wb') as file:
            file.truncate(2 << 30)
        cls.call('mkfs.btrfs', '-q', '-f', image)
        cls.loop = cls.call('losetup', '-f', '--show', image).strip()
        cls.call('mount', '-t', 'btrfs', '-o', 'noatime,max_inline=0', cls.loop, cls.mounted)

    @classmethod
    def call(cls, *command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as missing:
            raise unittest.SkipTest(f'no loop device with btrfs here: {missing}') from missing
        if done.returncode:
            raise unittest.SkipTest(f'no loop device with btrfs here: {done.stderr.strip()}')
        return done.stdout

    @classmethod
    def undo(cls):
        subprocess.run(['umount', cls.mounted], capture_output=True, check=False)
        if cls.loop:
            subprocess.run(['losetup', '-d', cls.loop], capture_output=True, check=False)
        cls.folder.cleanup()

    def setUp(self):
        self.new_place()

    def new_place(self):
        # Those of the last test: they are of the whole file system.
        self.call('btrfs', 'quota', 'disable', self.mounted)
        OnKernel.places += 1
        self.place = os.path.join(self.mounted, str(self.places))
        os.mkdir(self.place)

    def arguments(self):
        return ('--mount', self.place)

    def go(self, text, code, err=''):
        done = super().go(text, code, err)
        if code:
            self.new_place()
        return done

    def test_no_check(self):
        self.go('check\n', 2, 'check: not available yet on a mounted file system')
        self.go('expect v data-rfer 0 data-excl 0\n', 2,
                'expect: the kernel has no numbers of data alone')
        self.go('delete id:257\n', 2, "the script names a subvolume by its id, 'id:257'")

    def test_files(self):
        """Files and sizes are where the description has them, and what is dropped has gone."""
        self.go('subvol v\nwrite v f 8k 4k\nfallocate v g 0 64k\nsnapshot v w\ntruncate w f 4k\n'
                'punch w g 0 4k\nsnapshot w x\ndelete x\ndrop-wait\n', 0)
        sizes = {name: os.stat(os.path.join(self.place, name)).st_size
                 for name in ('v/f', 'v/g', 'w/f', 'w/g')}
        self.assertEqual(sizes, {'v/f': 12288, 'v/g': 65536, 'w/f': 4096, 'w/g': 65536})
        self.assertEqual(sorted(os.listdir(self.place)), ['v', 'w'])
        self.assertEqual(self.call('btrfs', 'subvolume', 'list', '-d', self.mounted), '')


if __name__ == '__main__':
    print(f'REFSTORM_DATA_SEED={SEED}')
    result = unittest.main(exit=False).result
    if not result.wasSuccessful() or not result.testsRun:
        sys.exit(1)
    sys.exit(77 if result.skipped else 0)

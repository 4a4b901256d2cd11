#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The report as text: structure, escaping, what it shows of each kind of result, what it refuses."""
import html.parser
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, 'reports')
PROGRAM = os.environ['REFSTORM']
TIMEOUT_S = 120
HOSTILE = '</table><script>alert("1")</script>\' & `id` $(id) \\ é'
EMPTY_ELEMENTS = {'meta', 'br', 'hr', 'img', 'input', 'link'}


def report(*arguments, path=None):
    environment = dict(os.environ, **({'PATH': path} if path is not None else {}))
    return subprocess.run([PROGRAM, 'report', *arguments], capture_output=True, text=True,
                          check=False, timeout=TIMEOUT_S, env=environment)


class Page(html.parser.HTMLParser):
    """Counts elements, keeps attributes, and finds tags that do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.faults = []
        self.ids = []
        self.attributes = []
        self.counts = {}
        self.content = []
        self.feed(text)
        self.close()
        if self.open:
            self.faults.append(f'never closed: {self.open}')

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f'{tag}: an attribute twice: {names}')
        for name, value in attrs:
            self.attributes.append((tag, name, value))
            if name == 'id':
                self.ids.append(value)
        if tag not in EMPTY_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f'</{tag}> at {self.getpos()}')

    def handle_data(self, data):
        self.content.append(data)

    def text(self):
        return ' '.join(' '.join(self.content).split()).replace('\u00a0', ' ')


class Folder(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.folder = os.path.join(self.place.name, 'results')
        shutil.copytree(RESULTS, self.folder)
        self.page_path = os.path.join(self.folder, 'report.html')

    def read(self, path=None):
        with open(path or self.page_path, encoding='utf-8') as file:
            return file.read()

    def make(self, **options):
        """The text of the page and the page, which is always checked."""
        done = report(self.folder, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = self.read()
        page = Page(text)
        self.assertEqual(page.faults, [])
        self.check_closed(text, page)
        self.messages = done.stderr
        return text, page

    def check_closed(self, text, page):
        """Nothing of it is elsewhere, and nothing of it runs."""
        self.assertNotRegex(text, r'https?:|url\(|@import|javascript:|data:')
        for tag in ('script', 'link', 'img', 'image', 'iframe', 'object', 'foreignobject', 'a:'):
            self.assertNotIn(tag, page.counts)
        for tag, name, value in page.attributes:
            self.assertFalse(name.startswith('on'), (tag, name))
            if name in ('href', 'src', 'xlink:href'):
                self.assertTrue(value.startswith('#') and value[1:] in page.ids, (tag, value))
        self.assertEqual(len(page.ids), len(set(page.ids)))

    def write(self, name, content):
        with open(os.path.join(self.folder, name), 'w', encoding='utf-8') as file:
            file.write(content if isinstance(content, str) else json.dumps(content))

    def load(self, name):
        with open(os.path.join(self.folder, name), encoding='utf-8') as file:
            return json.load(file)

    def clear(self, *kept):
        for name in os.listdir(self.folder):
            if name not in kept:
                os.unlink(os.path.join(self.folder, name))


class Whole(Folder):
    def test_figures(self):
        _, page = self.make()
        labels = [value for tag, name, value in page.attributes
                  if (tag, name) == ('svg', 'aria-label')]
        self.assertEqual(labels, [
            'snapshot-storm: operations per second against threads',
            'snapshot-storm: latency of each operation',
            'snapshot-storm: longest wait to join a transaction against snapshots',
            'overwrite: operations per second against threads',
            'defrag-shared: CPU time per operation against snapshots',
            'defrag-shared: latency of each operation',
            'overwrite: latency of each operation',
            'defrag-shared: longest wait to join a transaction against snapshots',
            'overwrite: longest wait to join a transaction against snapshots',
            'On a CPU'])
        self.assertEqual(page.counts['figure'], len(labels))
        self.assertGreaterEqual(page.counts['details'], len(labels))
        self.assertEqual(page.counts['table'], page.counts['caption'])
        self.assertEqual(page.counts['h1'], 1)
        boxes = [value for tag, name, value in page.attributes if (tag, name) == ('svg', 'viewbox')]
        self.assertEqual(len(boxes), len(labels))

    def test_colours_follow_the_page(self):
        text, _ = self.make()
        plots = re.findall(r'<div class="plot" .*?</svg>', text, re.S)
        self.assertEqual(len(plots), 9)
        for plot in plots:
            self.assertNotRegex(plot, r'rgb\(|black|white|font-family')
            self.assertIn('var(--s0)', plot)
        self.assertIn('prefers-color-scheme:dark', text)

    def test_headlines(self):
        _, page = self.make()
        points = {(p['workload'], p['engine'], p['record'], p['threads'], p['snapshots']): p
                  for p in self.load('bench-201500.json')['points']}

        def median(metric, *key):
            return points[key]['metrics'][metric]['median']

        text = page.text()
        flat = (median('cpu_ns_per_op', 'defrag-shared', 'ledger', 'percpu', 2, 1024) /
                median('cpu_ns_per_op', 'defrag-shared', 'ledger', 'percpu', 2, 0))
        self.assertRegex(text, rf'Cost grows with snapshots {flat:.2f}\s×')
        saved = (median('cpu_ns_per_op', 'defrag-shared', 'extent', 'percpu', 2, 1024) /
                 median('cpu_ns_per_op', 'defrag-shared', 'ledger', 'percpu', 2, 1024))
        self.assertRegex(text, rf'Ledger saves {saved:.0f}\s×')
        gain = (median('ops_per_s', 'overwrite', 'ledger', 'percpu', 4, 64) /
                median('ops_per_s', 'overwrite', 'ledger', 'locked', 4, 64))
        self.assertRegex(text, rf'Per-CPU records gain {gain:.2f}\s×')

    def test_content(self):
        text, page = self.make()
        shown = page.text()
        self.assertIn('<th scope="row">governor</th><td>performance</td><td><span class="none">unavailable', text)
        self.assertIn('the recount differs: group 0/257 has rfer 4096, counted 8192', shown)
        self.assertIn('This sweep was ended early', shown)
        self.assertIn('refstorm stress --seed 8123372036854775807 --duration 30', shown)
        self.assertIn('1,204,331', shown)
        self.assertIn('record-merge 1,211', shown)
        self.assertIn('3 of 4 groups match, 0 differ', shown)
        self.assertIn('delayed-records 5 16,400,000 912,000', shown)
        self.assertIn('off-CPU: perf may not trace the scheduler without root', shown)
        self.assertIn('Off the CPU: waiting: unavailable', shown)
        self.assertIn('record_add 31.1 %', shown)
        self.assertIn('19,204 samples', shown)
        self.assertIn('With 64 snapshots;', shown)
        self.assertNotRegex(shown, r'\b(nan|inf|null|None)\b')

    def test_out_and_standard_output(self):
        other = os.path.join(self.place.name, 'other.html')
        done = report('--out', other, self.folder)
        *headlines, place = done.stdout.splitlines()
        self.assertEqual((done.returncode, place), (0, other))
        self.assertEqual([bool(re.match(r'[\d.]+ times: ', line)) for line in headlines], [True] * 3)
        self.assertFalse(os.path.exists(self.page_path))
        done = report('--out', '-', self.folder)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, self.read(other))

    def test_style_of_a_drawing(self):
        """Its harmless rules, and for itself only."""
        text, page = self.make()
        self.assertIn('class="c0"', text)
        for rule in ('.flame .c0{fill:hsl(20,70%,68%)}', '.flame rect.own,.flame text{stroke:none}',
                     '@media (prefers-color-scheme:dark){\n.flame .c0{fill:hsl(20,45%,30%)}\n}'):
            self.assertIn(rule, text)
        self.assertNotIn('Verdana', text)
        self.assertEqual(page.counts['style'], 2)

    def test_newest_counts(self):
        old = dict(self.load('stress-202200.json'), verdict='hang')
        self.write('stress-110000.json', old)
        _, page = self.make()
        self.assertIn('stress-202200.json', page.text())
        self.assertNotIn('stress-110000.json', page.text())


class Hostile(Folder):
    def test_every_text_is_escaped(self):
        def spoil(value):
            if isinstance(value, dict):
                return {(key if key in ('schema', 'svg') or key in KNOWN else HOSTILE + key):
                        entry if key in ('schema', 'svg') else spoil(entry)
                        for key, entry in value.items()}
            if isinstance(value, list):
                return [spoil(entry) for entry in value]
            return HOSTILE if isinstance(value, str) else value

        KNOWN = set(re.findall(r'"(\w+)":', ' '.join(
            self.read(os.path.join(RESULTS, name)) for name in os.listdir(RESULTS)
            if name.endswith('.json')))) - {'defrag', 'write', 'allocations', 'recount'}
        for name in os.listdir(self.folder):
            if name.endswith('.json'):
                self.write(name, spoil(self.load(name)))
        text, page = self.make()
        self.assertIn('alert("1")', page.text())
        self.assertNotIn('<script', text)
        self.assertGreaterEqual(page.counts['svg'], 5)
        self.assertNotIn('Not drawn', text)

    def test_drawings(self):
        """What the profile names is drawn only if it is a whole drawing beside it."""
        profile = self.load('profile-202300.json')
        for name, content, message in (
                ('../flame.svg', None, 'no name of a file beside it'),
                ('gone.svg', None, 'cannot be read'),
                ('cut.svg', '<svg viewBox="0 0 1 1"><g>', 'damaged'),
                ('text.svg', 'no drawing', 'is no drawing'),
                ('crossed.svg', '<svg viewBox="0 0 1 1"><g><rect></g></rect></svg>', 'damaged'),
                ('deep.svg', '<svg viewBox="0 0 1 1">' + '<g>' * 5000, 'damaged')):
            if content:
                self.write(name, content)
            profile['on_cpu']['svg'] = name
            self.write('profile-202300.json', profile)
            text, _ = self.make()
            self.assertIn(message, text, name)
        self.write('loud.svg', '<svg width="10" height="10" onclick="x()"><style>@import "a";</style>'
                   '<g style="fill:url(a)" fill="url(&#35;x)" onload=\'y()\'><rect width="3" '
                   'href="javascript:z()" d="&quot;&gt;"/></g><foreignObject><p>in</p>'
                   '</foreignObject><text>&lt;b&gt; &bogus; <![CDATA[<i>]]></text></svg>')
        profile['on_cpu']['svg'] = 'loud.svg'
        self.write('profile-202300.json', profile)
        text, _ = self.make()
        self.assertIn('<svg viewBox="0 0 10 10"', text)
        self.assertIn('&lt;b&gt; &amp;bogus; &lt;i&gt;', text)

    def test_strange_numbers(self):
        bench = self.load('bench-201500.json')
        strange = [0, -5, 1e300, 1e-300, None, 'text', [], {}, 2 ** 62]
        for at, point in enumerate(bench['points']):
            if point['metrics']:
                for metric in filter(None, point['metrics'].values()):
                    metric['median'] = strange[at % len(strange)]
                    metric['low'] = strange[(at + 3) % len(strange)]
        self.write('bench-201500.json', bench)
        self.write('verify-202400.json', dict(self.load('verify-202400.json'), generation=2 ** 64 - 1))
        self.make()


class Refused(Folder):
    def test_unusable_files_are_named(self):
        self.write('bench-230000.json', '{"schema":"refstorm.bench.v1",')
        self.write('bench-230001.json', '')
        self.write('bench-230002.json', {'context': {}, 'benchmarks': []})
        self.write('bench-230003.json', {'schema': 'refstorm.bench.v1', 'points': [{'engine': 1}]})
        self.write('bench-230004.json', [])
        os.mkfifo(os.path.join(self.folder, 'bench-230005.json'))
        self.write('stress-230000.json', {'schema': 'refstorm.stress.v9'})
        _, page = self.make()
        for name, why in (('bench-230000.json', 'is no JSON'), ('bench-230001.json', 'is empty'),
                          ('bench-230002.json', 'its schema is missing'),
                          ('bench-230003.json', 'points[0] lacks'),
                          ('bench-230004.json', 'its schema is missing'),
                          ('bench-230005.json', 'is no regular file'),
                          ('stress-230000.json', 'its schema is refstorm.stress.v9')):
            self.assertRegex(self.messages, rf'{name}: left out: .*{re.escape(why)}')
            self.assertRegex(page.text(), rf'{name} .*{re.escape(why)}')
        # The newest that can be used is shown.
        self.assertIn('stress-202200.json', page.text())

    def test_nothing_usable(self):
        self.clear()
        for content in (None, '{', '{"schema":"refstorm.verify.v1"}'):
            if content:
                self.write('bench-100000.json', content)
            done = report(self.folder)
            self.assertEqual(done.returncode, 2)
            self.assertIn('there is no result to report', done.stderr)
            self.assertEqual([name for name in os.listdir(self.folder) if 'html' in name], [])

    def test_arguments(self):
        for arguments, message in (((), 'one folder'), ((self.folder, 'b'), 'one folder'),
                                   (('--wrong', self.folder), "there is no option '--wrong'"),
                                   (('--out',), "no value behind '--out'"),
                                   ((self.folder + '/none',), 'No such file'),
                                   (('--out', '/none/page.html', self.folder), 'No such file')):
            done = report(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(message, done.stderr)

    def test_full_disk(self):
        done = report('--out', '/dev/full', self.folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn('/dev/full: cannot write', done.stderr)

    def test_kinds_alone(self):
        for name in ('bench-203100.json', 'stress-202200.json', 'profile-202300.json',
                     'verify-202400.json'):
            shutil.rmtree(self.folder)
            shutil.copytree(RESULTS, self.folder)
            self.clear(name)
            _, page = self.make()
            self.assertIn(name, page.text())
        self.assertNotIn('figure', page.counts)


class Gnuplot(Folder):
    def fake(self, script):
        place = os.path.join(self.place.name, 'bin')
        os.makedirs(place, exist_ok=True)
        path = os.path.join(place, 'gnuplot')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('#!/bin/sh\n' + script)
        os.chmod(path, 0o755)
        return place

    def check_without(self, path, message):
        text, page = self.make(path=path)
        self.assertIn(message, self.messages)
        self.assertIn('Not drawn: ' + message, page.text())
        self.assertIn('Plots are missing', page.text())
        self.assertEqual(page.counts['svg'], 1)  # the flame graph
        self.assertEqual(page.counts['figure'], 10)
        self.assertIn('1,603,100', text)

    def test_missing(self):
        self.check_without('/nonexistent', 'gnuplot is not installed')

    def test_failing(self):
        self.check_without(self.fake('echo "terminal unknown" >&2; exit 1\n'),
                           'gnuplot: terminal unknown')

    def test_silent(self):
        self.check_without(self.fake('exit 0\n'), 'gnuplot: ended with status 0')

    def test_damaged(self):
        self.check_without(self.fake('echo "<svg viewBox=\\"0 0 1 1\\"><g>"\n'),
                           'is a damaged drawing')


if __name__ == '__main__':
    unittest.main()

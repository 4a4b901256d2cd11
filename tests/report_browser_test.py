#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The report in a browser: it keeps to itself, fits its window, draws its figures, light and dark.

Screenshots stay in the build directory as report-*.png.
"""
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'support'))
import builds  # noqa: E402

PROGRAM = os.environ['REFSTORM']
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
TIMEOUT_S = 120
NARROW = 390
WIDE = 1200
HEIGHT = 2400
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--disable-default-apps', '--disable-extensions', '--hide-scrollbars',
         '--host-resolver-rules=MAP * ~NOTFOUND', '--virtual-time-budget=3000']
# The browser's numbers for the two: the system's wish, which the page follows.
SCHEMES = {'light': '1', 'dark': '0'}
GROUNDS = {'light': (255, 255, 255), 'dark': (0x11, 0x15, 0x1a)}

# A page in a frame that a script of the wrapper may look into: the page itself has none.
WRAPPER = '''<!DOCTYPE html><meta charset="utf-8"><style>body{{margin:0}}iframe{{border:0;width:{width}px;
height:{height}px}}</style><iframe srcdoc="{page}"></iframe><pre id="seen"></pre><script>
onload = () => {{
  const view = document.querySelector('iframe').contentWindow, page = view.document;
  const size = (node) => {{
    const box = node.getBoundingClientRect();
    return [Math.round(box.width), Math.round(box.height)];
  }};
  const look = () => ({{
    inner: view.innerWidth, scroll: page.documentElement.scrollWidth,
    body: page.body.scrollWidth, height: page.documentElement.scrollHeight,
    figures: [...page.querySelectorAll('figure')].map(size),
    drawings: [...page.querySelectorAll('svg')].map(size),
    shapes: [...page.querySelectorAll('svg')].map((svg) =>
      [...svg.querySelectorAll('path,circle,rect,text')].filter((node) => {{
        const box = node.getBoundingClientRect();
        return box.width + box.height > 0;
      }}).length),
    outside: [...page.querySelectorAll('body *')].filter((node) =>
      !node.closest('.plot,.scroll,.hidden') &&
      node.getBoundingClientRect().right > view.innerWidth + 1).map((node) => node.outerHTML.slice(0, 80)),
  }});
  const closed = look();
  page.querySelectorAll('details').forEach((node) => {{ node.open = true; }});
  document.getElementById('seen').textContent = JSON.stringify({{closed, open: look()}});
}};
</script>'''


def first_pixel(path):
    """Red, green, blue of the corner: whatever the first row's filter, it is stored as it is."""
    with open(path, 'rb') as file:
        data = file.read()
    at, packed = 8, b''
    while at < len(data):
        length = int.from_bytes(data[at:at + 4], 'big')
        if data[at + 4:at + 8] == b'IDAT':
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    return tuple(zlib.decompress(packed)[1:4])


def size_of(path):
    with open(path, 'rb') as file:
        head = file.read(24)
    return int.from_bytes(head[16:20], 'big'), int.from_bytes(head[20:24], 'big')


@unittest.skipIf(builds.is_sanitized(), 'the page is the same without sanitizers')
class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        folder = os.path.join(cls.place.name, 'results')
        shutil.copytree(os.path.join(HERE, 'reports'), folder)
        subprocess.run([PROGRAM, 'report', folder], check=True, timeout=TIMEOUT_S,
                       stdout=subprocess.DEVNULL)
        cls.page = os.path.join(folder, 'report.html')
        with open(cls.page, encoding='utf-8') as file:
            cls.text = file.read()

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def browse(self, path, *flags):
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f'--user-data-dir={self.place.name}/profile', *flags, 'file://' + path],
            capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def write(self, name, text):
        path = os.path.join(self.place.name, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    def wrap(self, text, width):
        return self.write(f'wrapper-{width}.html', WRAPPER.format(
            width=width, height=HEIGHT, page=html.escape(text)))

    def measure(self, text, width):
        shown = self.browse(self.wrap(text, width), f'--window-size={max(width, 800)},{HEIGHT}',
                            '--dump-dom')
        seen = re.search(r'<pre id="seen">(.+?)</pre>', shown, re.S)
        self.assertTrue(seen, 'the page was not measured')
        return json.loads(html.unescape(seen.group(1)))

    def requests(self, path):
        """The addresses that were asked for, the browser's own ones not."""
        log = os.path.join(self.place.name, 'net.json')
        self.browse(path, f'--log-net-log={log}', '--dump-dom')
        with open(log, encoding='utf-8') as file:
            text = file.read()
        self.assertIn('URL_REQUEST', text)
        found = re.findall(r'"url":"([^"]+)"', text)
        return sorted({url for url in found if re.match(r'(https?|wss?|ftp):', url) and
                       not re.match(r'https?://[^/]*(google|gstatic|googleapis)[^/]*/', url)})

    def test_fits(self):
        for width in (NARROW, 768, WIDE):
            seen = self.measure(self.text, width)
            for state in ('closed', 'open'):
                with self.subTest(width=width, state=state):
                    found = seen[state]
                    self.assertEqual(found['inner'], width)
                    self.assertLessEqual(found['scroll'], width)
                    self.assertLessEqual(found['body'], width)
                    self.assertEqual(found['outside'], [])
                    self.assertEqual(len(found['figures']), 10)
                    self.assertEqual(len(found['drawings']), 10)
                    for figure, drawing, shapes in zip(found['figures'], found['drawings'],
                                                       found['shapes']):
                        self.assertGreater(min(figure), 100)
                        self.assertGreater(min(drawing), 60)
                        self.assertGreater(shapes, 10)
            self.assertGreater(seen['open']['height'], seen['closed']['height'] + 2000)

    def test_overflow_is_noticed(self):
        spoiled = self.text.replace('<main>', '<main><p style="width:2000px">wide</p>', 1)
        found = self.measure(spoiled, NARROW)['closed']
        self.assertGreater(found['scroll'], NARROW)
        self.assertTrue(found['outside'])

    def test_nothing_leaves(self):
        self.assertEqual(self.requests(self.page), [])
        spoiled = self.text.replace('<main>', '<main><img src="http://planted.invalid/x.png">', 1)
        self.assertEqual(self.requests(self.write('spoiled.html', spoiled)),
                         ['http://planted.invalid/x.png'])

    def test_screenshots(self):
        for scheme, number in SCHEMES.items():
            path = os.path.join(builds.BUILD, f'report-{scheme}.png')
            self.browse(self.page, f'--window-size={WIDE},{HEIGHT}', f'--screenshot={path}',
                        f'--blink-settings=preferredColorScheme={number}')
            self.assertEqual(size_of(path), (WIDE, HEIGHT))
            self.assertEqual(first_pixel(path), GROUNDS[scheme])
        path = os.path.join(builds.BUILD, 'report-narrow.png')
        self.browse(self.wrap(self.text, NARROW), f'--window-size={NARROW},{HEIGHT}',
                    f'--screenshot={path}')
        self.assertEqual(first_pixel(path), GROUNDS['light'])


if __name__ == '__main__':
    if not CHROMIUM:
        print('skipped: chromium is not installed')
        sys.exit(77)
    unittest.main()

# SPDX-License-Identifier: MIT
"""What a python test has to know of the build that it runs in."""
import os
import re

BUILD = os.environ['REFSTORM_BUILD']


def is_sanitized():
    """Then everything takes ten times as long, and tests take samples."""
    with open(os.path.join(BUILD, 'CMakeCache.txt'), encoding='utf-8') as cache:
        return bool(re.search(r'^RS_SANITIZE:\w+=.', cache.read(), re.M))

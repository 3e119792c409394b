"""`python -m zond` is `zond`."""

from __future__ import annotations

import os
import sys

from zond import program

os.execv(program(), ["zond", *sys.argv[1:]])

"""The short form of `killtest.py`: a few kills; the long form is `python tests/killtest.py --kills 100`."""

import re
import subprocess
import sys
from pathlib import Path


def test_nothing_is_lost_by_kills():
    command = [sys.executable, str(Path(__file__).with_name("killtest.py")), "--kills", "5", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"[1-9]\d* grids of 8 runs ended as the undisturbed one, bit for bit", done.stdout)

"""Folders and files that belong to others: one line, nothing lost. Root is first made a user like any other."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.store.store import Store
from benchmarks.store.verification import verify

SEVERAL = """
import contextlib, io, json, sys
from benchmarks import __main__ as cli
ended = []
for arguments in json.load(sys.stdin):
    sys.argv, said, told = ["ndi-bench", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        try:
            cli.main()
        except SystemExit as error:
            ended.append((error.code, told.getvalue()))
print(json.dumps(ended))
"""
"""Several commands in one process, which loads everything once."""
RUN = ["run", "--methods", "toy_methods:WALKER", "--tasks", "inverted-pendulum", "--steps", "20", "--evaluations", "2"]
RUN += ["--eval-episodes", "1", "--lanes", "1", "--no-report", "--workers", "0", "--seeds", "0-1"]


def given(*commands):
    """Exit codes and messages of commands given by someone who is not root."""
    everyone = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything here: there is no setpriv")
        everyone = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*everyone, sys.executable, "-c", SEVERAL], input=json.dumps([list(map(str, one)) for one in commands]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_what_may_not_be_read_or_written_is_told_in_one_line(tmp_path):
    kept = tmp_path / "kept"
    assert given([*RUN, "--out", kept, "--seeds", "0"])[0][0] == 0
    commands, closed = [], []
    for part in ("", "runs", "runs/*", "locks", "logs", "checkpoints", "slurm"):
        folder = tmp_path / f"closed-{len(closed)}"
        shutil.copytree(kept, folder)
        (place,) = folder.glob(part) if part in ("runs", "runs/*") else [folder / part]
        if not place.exists():
            place.mkdir()
        closed.append((folder, place, place.stat().st_mode))
        commands += [["status", folder], [*RUN, "--out", folder]]
        place.chmod(0)
    try:
        ended = given(*commands)
    finally:
        for _, place, mode in closed:
            if place.exists():  # an empty folder is removed by its owner, readable or not
                place.chmod(mode)
    for command, (code, told) in zip(commands, ended, strict=True):
        if code != 0:
            assert code == 2, command
            assert re.fullmatch(r"error: .*Permission denied.*\n", told), command
    codes = [code for code, _ in ended]
    assert codes == [2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0], "what can be done is done"
    assert [verify(Store(folder)) for folder, _, _ in closed] == [(runs, []) for runs in (1, 1, 1, 1, 2, 2, 2)]

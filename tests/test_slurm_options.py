"""What jobs are given and do by themselves, without a cluster: options, time limits, the batch script, requeueing."""

import os
import signal
import subprocess

import pytest

from benchmarks.kit.errors import UserError
from benchmarks.run.engines import job, options, slurm


def test_options_come_by_name_and_from_files(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('partition = "long"\ncpus = 2\nsetup = ["module load cuda"]\n')
    given = [str(file), "partition=short", "mail-type=END", "setup=source env", "mem=", "parallel=20"]
    assert options.read(given) == {
        "partition": "short", "cpus_per_task": 2, "setup": ["module load cuda", "source env"], "mail_type": "END",
        "mem": None, "array_parallelism": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("partition", "--slurm partition: give KEY=VALUE"),
        ("a b=c", "--slurm a b=c: give KEY=VALUE"),
        ("array=0-3", "--slurm array: this is not to be set, --workers says how many jobs there are"),
        ("time=1\n#SBATCH --uid=0", "--slurm time: give one line"),
        ("setup=one\ntwo", "--slurm setup: give lines"),
        ("missing.toml", "--slurm missing.toml cannot be read: No such file"),
        ("cpus=many", "--slurm cpus_per_task=many: give a whole number"),
        ("parallel=0", "--slurm array_parallelism=0: give a whole number of at least 1"),
        ("use-srun=0", "--slurm use_srun: this is not to be set, srun passes signals on"),
    ],
)
def test_wrong_options_are_told_in_one_line(text, told):
    with pytest.raises(UserError, match=told):
        options.read([text])


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (90, 5400), ("90", 5400), ("2:30", 150), ("1:30:00", 5400), ("2-12", 216_000), ("1-0:30", 88_200),
        ("1-1:1:1", 90_061), ("UNLIMITED", 86_400),
    ],
)  # fmt: skip
def test_a_time_limit_is_read_as_sbatch_reads_it(limit, seconds):
    assert options.seconds(limit) == seconds


def test_what_does_not_go_together_is_told_before_anything_slow(bench):
    assert bench("run", "--engine", "slrm")[2] == "error: --engine slrm: did you mean slurm? there are local, slurm\n"
    assert bench("run", "--slurm", "time=3")[2] == "error: --slurm is for --engine slurm; add that\n"
    assert bench("run", "--batch-script", "x")[2] == "error: --batch-script is for --dry-run; add that\n"


def test_a_dry_run_says_what_the_jobs_will_take(tmp_path, bench, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an extra")
    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    script = tmp_path / "jobs.sh"
    code, said, _ = bench(
        "run", "--methods", "toy_methods:WALKER", "--tasks", "inverted-pendulum", "--seeds", "0-5", "--lanes", "1",
        "--dry-run", "--engine", "slurm", "--workers", "3", "--slurm", "parallel=2", "--slurm", "time=6",
        "--batch-script", script,
    )  # fmt: skip
    assert code == 0
    assert "3 jobs of 1 core and " in said
    assert "core-hours" in said
    lines = script.read_text().splitlines()
    assert {"#SBATCH --array=0-2%2", "#SBATCH --time=6", "#SBATCH --signal=USR2@120"} <= set(lines)


@pytest.mark.parametrize(
    ("code", "reason", "restarts", "requeued"),
    [
        (0, "None", 0, False),
        (1, "None", 0, False),
        (job.AGAIN, "None", 0, True),
        (job.AGAIN, "None", slurm.REQUEUES, False),
        (128 + signal.SIGKILL, "None", 1, True),
        (128 + signal.SIGTERM, "None", 0, False),  # cancelled, or requeued by somebody else
        (128 + signal.SIGTERM, "TimeLimit", 0, True),
    ],
)
def test_a_job_requeues_itself_alone_if_it_is_to_go_on(tmp_path, code, reason, restarts, requeued):
    for name, text in {"scontrol": f"echo $* > {tmp_path}/told", "squeue": f"echo {reason}"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    variables |= {"SLURM_RESTART_COUNT": str(restarts), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = "\n".join([f"(exit {code})", "code=$?", *slurm._requeue()])
    subprocess.run(["bash", "-c", script], env=variables, check=False)
    told = tmp_path / "told"
    assert (told.read_text() if told.exists() else None) == ("requeue 12_3\n" if requeued else None)


def test_a_machine_without_slurm_is_told_in_one_line(tmp_path, bench, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an extra")
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["run", "--methods", "toy_methods:WALKER", "--tasks", "inverted-pendulum", "--seeds", "0", "--no-report"]
    code, _, told = bench(*command, "--out", tmp_path / "out", "--engine", "slurm")
    assert (code, told) == (2, "error: --engine slurm: there is no Slurm on this machine (srun is not found)\n")
    assert not (tmp_path / "out" / "slurm").exists()

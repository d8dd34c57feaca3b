"""The engine of a Slurm cluster: one worker per job, submitted as an array by submitit, watched in the results folder.

A job that is warned of its end (time limit, pre-emption) saves its cells and is requeued, as is one whose worker was
killed or had not saved its cells by the limit, up to `REQUEUES` times. Jobs that were lost for good are replaced while
the command is there to see it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import shlex
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.files import put, variables
from benchmarks.kit.errors import UserError, writing
from benchmarks.plan.grid import makespan
from benchmarks.run import queue, status, submissions
from benchmarks.run.checkpoint import Checkpoint
from benchmarks.run.interrupts import Interrupts
from benchmarks.run.locks import holders
from benchmarks.run.machine import Machine
from benchmarks.run.memory import most_at_once
from benchmarks.run.pool import Outcome
from benchmarks.run.submissions import Submission
from benchmarks.terminal import counted, say

from . import job, options
from .work import Work

REQUEUES = 20
"""How often a job is requeued at most."""
RESUBMISSIONS = 3
"""How often lost jobs are replaced at most without a run that has ended meanwhile."""
WARNING_SECONDS = 180
"""How long before its end a job is warned, unless `signal_delay_s` says otherwise: time to save a large replay. Within
short time limits it is a third of them."""
SHORTEST, LONGEST = 60, 24 * 60
"""Between how many minutes the time limit lies by default; reaching it costs a wait in the queue, but no work."""
PROCESS_BYTES = 1.5e9
"""Memory of a cell's process beside its replay."""
POLL_SECONDS = 5.0
"""Time between two looks at the folder and the queue."""
END_SECONDS = 60.0
"""How long jobs may take to end once all runs are made."""
PROBE_BYTES = 1 << 16
"""What is written to see whether there is room."""
KILLED = (128 + 6, 128 + 7, 128 + 9, 128 + 10, 128 + 11, 128 + 12)
"""Exit codes of a worker that was killed, but not by a SIGTERM: that comes from whoever wants the job to end."""


class Slurm:
    """Submits jobs and watches them.

    Args:
        given: the cluster's options, see `options.read`.

    Raises:
        UserError: an option is wrong, or submitit is not installed.
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        self.options = options.read(given)
        try:
            import submitit  # noqa: F401 - an extra
        except ImportError:
            raise UserError('--engine slurm needs submitit: pip install "ndi-bench[slurm]"') from None

    def run(self, work: Work, using: Machine, console: Console) -> Outcome:
        """See `Engine`; workers are jobs. An interrupt leaves the jobs to themselves and says how to come back."""
        if work.settings.anew:
            _drop_checkpoints(work)
        with Interrupts(patient=True) as interrupts:
            if not work.cells:  # made by jobs that nobody followed to their end
                _finish(Path(work.settings.folder), interrupts)
                return Outcome()
            self._start(work, using, partial(say, on=console))
            return self._follow(work, using, console, interrupts)

    def script(self, work: Work, using: Machine) -> str:
        """The batch script of the jobs, as `run` would submit it.

        Raises:
            UserError: this is no machine of a Slurm cluster.
        """
        place = Path(work.settings.folder).absolute() / "slurm" / "NAME"
        executor = self._executor(work, using, place)._executor
        executor.parameters["map_count"] = using.workers
        return str(executor._make_submission_file_text(executor._submitit_command_str, ""))

    def cores(self) -> int:
        """Cores of each job."""
        return int(self.options.get("cpus_per_task") or 1)

    def at_once(self, using: Machine) -> int:
        """Jobs that run at a time."""
        return min(using.workers, int(self.options.get("array_parallelism") or using.workers))

    def processes(self, device: str) -> int:
        """Cells that each job makes at a time."""
        return 1 if device.startswith("cuda") else self.cores()

    def memory(self, work: Work, using: Machine) -> int:
        """Bytes that each job needs."""
        processes = self.processes(using.device)
        return int(PROCESS_BYTES) * min(processes, len(work.cells)) + most_at_once(work.cells, processes)

    # ---------------------------------------------------------------------------------------------------- submission

    def _start(self, work: Work, using: Machine, say: Callable[[str], None]) -> None:
        """Submit as many jobs as are missing for these cells."""
        alive = _alive({run_id for cell in work.cells for run_id in cell.run_ids}, work.settings.folder)
        if alive:
            say(f"{counted(len(alive), 'job')} of an earlier command at work: {_range(alive)}")
        missing = min(using.workers, len(work.cells)) - len(alive)
        if missing > 0:
            names = self._submit(work, using, missing)
            say(f"{counted(missing, 'job')} submitted: {_range(names)}")

    def _submit(self, work: Work, using: Machine, jobs: int) -> list[str]:
        place = submissions.new_place(work.settings.folder)
        folder = Path(work.settings.folder).absolute()
        settings = replace(work.settings, folder=folder, device=using.device, threads=using.threads or 0, anew=False)
        content = pickle.dumps(replace(work, settings=settings))
        digest, names = hashlib.sha256(content).hexdigest(), list[str]()
        try:
            with _in_one_line(work.settings.folder), _own_environment():
                path = put(content, place.absolute(), "work.pkl")
                executor = self._executor(work, using, place.absolute())
                names = [one.job_id for one in executor.map_array(job.work, [str(path)] * jobs, [digest] * jobs)]
                runs = [run_id for cell in work.cells for run_id in cell.run_ids]
                Submission(names, runs, work.stamps).write(place)
        except UserError:
            with contextlib.suppress(queue.QueueError):
                queue.cancel(names)
            submissions.remove(place, all_of_it=True)
            raise
        return names

    def _executor(self, work: Work, using: Machine, place: Path) -> Any:
        import submitit  # an extra

        try:
            executor = submitit.AutoExecutor(folder=place, cluster="slurm")
        except RuntimeError:
            raise UserError("--engine slurm: there is no Slurm on this machine (srun is not found)") from None
        known = set(executor._executor._valid_parameters())
        changes = {key: value for key, value in self.options.items() if key not in options.LISTS}
        both = {**self._defaults(work, using), **changes}
        given = {key: value for key, value in both.items() if value is not None}
        more = {key.replace("_", "-"): value for key, value in given.items() if key not in known}
        executor.update_parameters(
            stderr_to_stdout=True,
            slurm_additional_parameters={"requeue": True, **more},
            **{f"slurm_{key}": value for key, value in given.items() if key in known},
        )
        return executor

    def _defaults(self, work: Work, using: Machine) -> dict[str, Any]:
        """Options that the user may change, or add to."""
        expected = (
            makespan([cell.seconds for cell in work.cells], self.at_once(using) * self.processes(using.device)) / 60
        )
        limit = int(min(max(2 * expected, SHORTEST), LONGEST))
        return {
            "job_name": "ndi-bench",
            "time": limit,
            "cpus_per_task": 1,
            "mem": f"{self.memory(work, using) / 1e6:.0f}MB",
            "signal_delay_s": min(WARNING_SECONDS, options.seconds(self.options.get("time") or limit) // 3),
            "setup": [
                "trap : TERM  # outlive the worker, to requeue the job",
                # since Slurm 22.05 the number of cores has to be said to each step, too
                'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
                *self.options.get("setup", []),
            ],
            "srun_args": ["--open-mode=append", *self.options.get("srun_args", [])],
            "teardown": ["code=$?", *_requeue(), *self.options.get("teardown", []), "exit $code"],
        }

    # ----------------------------------------------------------------------------------------------------- following

    def _follow(self, work: Work, using: Machine, console: Console, interrupts: Interrupts) -> Outcome:
        """Show progress until all runs are made, or the user leaves; replaces jobs that were lost.

        Raises:
            UserError: the jobs end without making the runs.
        """
        folder, attempts, made = Path(work.settings.folder), 0, 0
        watch = status.Watch(folder, [run_id for cell in work.cells for run_id in cell.run_ids], work.stamps)
        with status.Shown(console) as shown:
            while True:
                seen = watch.look()
                shown.show(seen)
                if interrupts.asked is not None:
                    return _leave(folder, seen, console)
                if not seen.missing:
                    break
                if not seen.alive and not seen.fault:
                    attempts, made = 1 if len(seen.endings) > made else attempts + 1, len(seen.endings)
                    _check(folder, seen, attempts)
                    shown.say("The jobs have ended before the runs were made", "yellow")
                    missing = set(seen.missing)
                    left = [cell for cell in work.cells if not missing.isdisjoint(cell.run_ids)]
                    self._start(replace(work, cells=left), using, shown.say)
                _pause(interrupts, POLL_SECONDS)
            _finish(folder, interrupts)
        return Outcome(dict(watch.look().endings))


def _requeue() -> list[str]:
    """Lines of the batch script that requeue the job, if it is to go on."""
    again, ended = "|".join(map(str, (job.AGAIN, *KILLED))), 128 + signal.SIGTERM
    return [
        # the number of an array's last job is that of the array, too: requeued by it, all would begin again
        'job="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"',
        f'requeue() {{ [ "${{SLURM_RESTART_COUNT:-0}}" -lt {REQUEUES} ] && scontrol requeue "$job"; }}',
        f'case $code in {again}) requeue ;; {ended}) squeue -h -j "$job" -o %r | grep -q TimeLimit && requeue ;; esac',
    ]


def _leave(folder: Path, seen: status.Status, console: Console) -> Outcome:
    """Say how to come back to the jobs."""
    names = [one.name for one in seen.jobs if one.alive]
    say(
        f"{counted(len(names), 'job')} go on without this command. Follow them with:\n"
        f"  ndi-bench status --follow {shlex.quote(str(folder))}\nStop them with:\n  scancel {_range(names)}",
        on=console,
    )
    return Outcome(interrupted=True, detached=True)


def _check(folder: Path, seen: status.Status, attempts: int) -> None:
    """Refuse to submit again what would only end again.

    Raises:
        UserError: the folder cannot be written to, a job says what is to be mended, or there were enough attempts.
    """
    with writing(folder):
        put(bytes(PROBE_BYTES), folder, "slurm", "probe").unlink()
    place = seen.logs[seen.jobs[-1].name].parent if seen.jobs else None
    for one in seen.jobs:
        said = submissions.last_error(seen.logs[one.name]) if seen.logs[one.name].parent == place else ""
        if said:  # of those that were submitted last
            raise UserError(f"job {one.name}: {said}")
    if attempts > RESUBMISSIONS:
        log = seen.logs[seen.jobs[-1].name] if seen.jobs else folder
        left = counted(len(seen.missing), "run")
        raise UserError(f"{attempts} times all jobs have ended without making a run, {left} left; a log is {log}")


def _finish(folder: Path, interrupts: Interrupts) -> None:
    """Take back jobs that wait for nothing, let the others end, and remove what they leave; of earlier commands, too.

    Logs stay where a run has failed. Jobs that make other runs, too, are left alone.
    """
    if not any(submissions.submissions(folder)):
        return
    watch, end = status.Watch(folder), time.monotonic() + END_SECONDS
    seen = watch.look()
    over = {place: one.jobs for place, one in submissions.submissions(folder) if seen.endings.keys() >= set(one.runs)}
    places = {name: place for place, jobs in over.items() for name in jobs}
    # a folder that was copied or made by others may name jobs that are none of its own
    names = {one.name for one in seen.jobs if one.name in places and _prints_to(one, places[one.name])}
    with contextlib.suppress(queue.QueueError):
        queue.cancel([one.name for one in seen.jobs if one.name in names and one.alive and one.state != "RUNNING"])
    while any(one.alive for one in seen.jobs if one.name in names):
        if time.monotonic() > end or interrupts.asked is not None:
            return
        _pause(interrupts, 1.0)
        seen = watch.look()
    if not seen.fault:
        sound = not seen.failed
        for place in over:
            submissions.remove(place, all_of_it=sound)


def _prints_to(job: queue.Job, place: Path) -> bool:
    """Whether a job's log lies in this folder."""
    with contextlib.suppress(OSError):
        return os.path.samefile(os.path.dirname(job.log), place)
    return False


def _drop_checkpoints(work: Work) -> None:
    """What `Settings.anew` asks of every worker, once: a requeued job goes on from its own checkpoints."""
    folder = Path(work.settings.folder)
    held = holders(folder)
    for cell in work.cells:
        if held.keys().isdisjoint(cell.run_ids):
            Checkpoint(folder / "checkpoints" / f"{cell.cell_id}.pt", cell.run_ids).delete()


def _alive(runs: set[str], folder: Path) -> list[str]:
    """Jobs of earlier commands that make all of these runs."""
    names = [name for _, one in submissions.submissions(folder) if runs <= set(one.runs) for name in one.jobs]
    try:
        return [one.name for one in queue.jobs(names) if one.alive]
    except queue.QueueError as error:
        raise UserError(f"--engine slurm: the queue does not answer: {error}") from None


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Hide the allocation of a job in which this command itself may run; the user's settings of Slurm stay."""
    from submitit.helpers import clean_env  # an extra

    kept = {name: value for name, value in os.environ.items() if name.startswith("SBATCH_") or name == "SLURM_CONF"}
    with clean_env(), variables(**kept):
        yield


def _pause(interrupts: Interrupts, seconds: float) -> None:
    end = time.monotonic() + seconds
    while interrupts.asked is None and time.monotonic() < end:
        time.sleep(0.2)


def _range(names: Iterable[str]) -> str:
    """Jobs for people and for scancel: an array is named once."""
    return " ".join(dict.fromkeys(name.partition("_")[0] for name in names))


@contextlib.contextmanager
def _in_one_line(folder: Path) -> Iterator[None]:
    """Turn what submission raises into the cluster's own message."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError  # an extra

    try:
        # submitit prints the message there, too
        with contextlib.redirect_stderr(io.StringIO()), writing(folder):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["it does not say why"]
        said = next((line for line in lines if "error:" in line), lines[0]).removeprefix("sbatch: ")
        raise UserError(f"the cluster refuses the jobs: {said.removeprefix('error: ')}; see --slurm") from None

"""Run commands side by side: a queue, so many at a time, each into its own log, and none that outlives a stop."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from unrolled.stageguard import caught_signals

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_SECONDS = 0.1  # between two looks at who has ended
GRACE_SECONDS = 10.0  # for a training to close its run and for DVC to release its locks
TAIL_LINES = 12


@dataclass(frozen=True)
class Job:
    """A command and where what it says goes.

    Attributes:
        name: as it is shown.
        command: program and arguments.
        log: the file for its output, from the folder that it runs in, written anew; None for the terminal.
    """

    name: str
    command: tuple[str, ...]
    log: Path | None = None


@dataclass
class _Run:
    job: Job
    process: "subprocess.Popen[bytes]"
    began: float = field(default_factory=time.monotonic)


def run_side_by_side(jobs: Sequence[Job], count: int, folder: Path, environment: Mapping[str, str]) -> list[Job]:
    """Run ``jobs`` in their order, ``count`` at a time, and return those that failed; the others are run all the same.

    Jobs with a log are told of on the terminal as they start and end, a failed one with the end of its log.

    Args:
        jobs: what to run.
        count: how many at a time, at least 1.
        folder: where they run.
        environment: of the commands.

    Raises:
        SystemExit: asked to stop by Ctrl-C, SIGTERM or SIGHUP; by then every process of every job has ended. The code is
            128 and the signal's number, as a shell has it.
    """
    waiting, running, failed = deque(jobs), list[_Run](), list[Job]()
    with caught_signals(*STOPS) as caught:
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    running.append(_start(waiting.popleft(), folder, environment))
                time.sleep(LOOK_SECONDS)
                if caught:
                    print(f"stopping what runs: {', '.join(run.job.name for run in running)}", flush=True)
                    raise SystemExit(128 + caught[0])
                for run in [run for run in running if run.process.poll() is not None]:
                    running.remove(run)
                    failed += [run.job] if run.process.returncode else []
                    _tell_end(run, folder, f"{len(jobs) - len(waiting) - len(running)} of {len(jobs)}")
        finally:
            stop_groups([run.process for run in running])
    return failed


def _start(job: Job, folder: Path, environment: Mapping[str, str]) -> _Run:
    """Start a job in a process group of its own: the terminal's Ctrl-C reaches us alone, and we stop all of it."""
    with _output(folder / job.log if job.log else None) as output:
        process = subprocess.Popen(
            job.command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    if job.log:
        print(f"{job.name}: started", flush=True)
    return _Run(job, process)


@contextmanager
def _output(log: Path | None) -> Iterator[int | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        yield file.fileno()


def _tell_end(run: _Run, folder: Path, standing: str) -> None:
    if run.job.log is None:
        return
    seconds = time.monotonic() - run.began
    if run.process.returncode == 0:
        print(f"{run.job.name}: done in {seconds:.0f} s ({standing})", flush=True)
        return
    print(f"{run.job.name}: FAILED after {seconds:.0f} s ({standing}); the end of {run.job.log}:", flush=True)
    print("\n".join(f"    {line}" for line in tail(folder / run.job.log)), flush=True)


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """Return the last lines of a log that are not blank; of a progress bar, which redraws its line, each drawing is one."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]


def stop_groups(processes: Collection["subprocess.Popen[bytes]"], grace: float = GRACE_SECONDS) -> None:
    """End the process groups that ``processes`` lead: asked first, killed after ``grace`` seconds.

    Asked by SIGINT, which Python and DVC clean up after. A group may outlive its leader, so it is the group that is waited for.
    """
    for process in processes:
        _send(process, signal.SIGINT)
    until = time.monotonic() + grace
    while time.monotonic() < until and any(_alive(process) for process in processes):
        time.sleep(LOOK_SECONDS)
    for process in processes:
        _send(process, signal.SIGKILL)
        process.wait()


def _alive(process: "subprocess.Popen[bytes]") -> bool:
    process.poll()  # a leader that has ended, but whose end nobody has looked at, still counts as one of its group
    return _send(process, 0)


def _send(process: "subprocess.Popen[bytes]", number: int) -> bool:
    """Send a signal to the group that ``process`` leads and say whether there was anybody left in it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
        return True
    return False

"""Many trainings at once on one machine, each in a process, until all are done or the time is up.

    python benchmarks/many_trainings.py energy_jobs --work WORK --out OUT --workers 12 --seconds 400

The module (here `energy_jobs`) has a list `JOBS`, the most wanted first, each with a name, and a function `run_job(job,
folder)` that returns what JSON can hold. Processes take jobs from the list one after the other. OUT/results.json has
the results of those that are done, with the hardware, and is written anew as jobs end; OUT/runs.tar.gz has the weights
of jobs that are marked `keep`. Jobs that are under way when the time is up are lost, and are named. A job whose process
dies is tried once more.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OF_RUN = ("run.json", "weights.safetensors", "metrics.csv")
TRIES = 2
MOST_FAILURES = 6
"""Before anything is done."""


def file_name(job: str) -> str:
    """A job's name as that of a file."""
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in job)


def claim(job: str, work: Path) -> bool:
    """Whether this process is the first to take the job."""
    try:
        with (work / "claims" / file_name(job)).open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def write_atomically(path: Path, content: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)


def work_on(jobs: Sequence[Any], run_job: Any, work: Path) -> None:
    """Take jobs that nobody has taken, until there are none."""
    for job in jobs:
        if not claim(job.name, work):
            continue
        name, start = file_name(job.name), time.time()
        folder = work / "runs" / name
        print("begin", job.name, flush=True)
        try:
            result = run_job(job, folder)
        except Exception as error:
            (work / "failed" / name).write_text(traceback.format_exc())
            print("failed", job.name, flush=True)
            if "CUDA error" in str(error):  # nothing more can be done in this process
                os._exit(3)
            continue
        about = {"data": job.data, "method": job.method, "seed": job.seed, "settings": dict(job.settings)}
        taken = {"seconds": round(time.time() - start, 1)}
        write_atomically(work / "results" / f"{name}.json", {"name": job.name, **about, **taken, "result": result})
        if not job.keep:
            shutil.rmtree(folder, ignore_errors=True)
        print("done", job.name, taken, flush=True)


class Processes:
    """Those that work on jobs, which are begun anew where one dies."""

    def __init__(self, arguments: Sequence[str], work: Path, count: int, environment: Mapping[str, str]) -> None:
        self.command = [sys.executable, __file__, *arguments, "--worker"]
        self.work, self.environment = work, {**os.environ, **environment}
        self.running = {number: self._begin(number) for number in range(count)}
        self.deaths = 0

    def _begin(self, number: int) -> subprocess.Popen[bytes]:
        with (self.work / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)

    def look(self) -> bool:
        """Whether any works still; begins anew what died, and gives its job to others."""
        for number, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[number]
            if code != 0 and self.deaths < 3 * len(self.running) + 6:
                self.deaths += 1
                self._give_back(process.pid)
                self.running[number] = self._begin(number)
        return bool(self.running)

    def _give_back(self, pid: int) -> None:
        for path in (self.work / "claims").iterdir():
            if path.read_text() == str(pid) and not (self.work / "results" / f"{path.name}.json").exists():
                tried = self.work / "tried" / path.name
                tried.write_text(tried.read_text() + "." if tried.exists() else ".")
                if len(tried.read_text()) < TRIES:
                    path.unlink()

    def stop(self) -> None:
        """End all: politely, since they may share a device; a training takes two signals."""
        for wait in (1, 1, 4):
            for process in self.running.values():
                process.terminate()
            time.sleep(wait if self.running else 0)
        for process in self.running.values():
            process.kill()


def merge(work: Path, out: Path, jobs: Sequence[Any]) -> list[str]:
    """Write the results so far; returns the names of those jobs that have none."""
    from record import commit, hardware

    found = {}
    for job in jobs:
        path = work / "results" / f"{file_name(job.name)}.json"
        if path.exists():
            found[job.name] = json.loads(path.read_text())
    date = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    about = {"hardware": hardware(), "date": date, "commit": commit()}
    write_atomically(out / "results.json", {**about, "jobs": found})
    return [job.name for job in jobs if job.name not in found]


def pack(work: Path, out: Path) -> None:
    """The kept runs in one archive."""
    with tarfile.open(out / "runs.tar.gz", "w:gz") as archive:
        for run in sorted((work / "runs").iterdir()):
            if (work / "results" / f"{run.name}.json").exists():
                for name in OF_RUN:
                    if (run / name).exists():
                        archive.add(run / name, f"{run.name}/{name}")


def multi_process_service(work: Path) -> dict[str, str]:
    """The environment of processes that share an accelerator side by side, by NVIDIA's daemon; empty where that does
    not work within half a minute, and they take turns."""
    found = shutil.which("nvidia-cuda-mps-control", path=f"{os.environ['PATH']}:/usr/local/nvidia/bin:/usr/bin")
    if found is None:
        return {}
    shared = {"CUDA_MPS_PIPE_DIRECTORY": str(work / "mps"), "CUDA_MPS_LOG_DIRECTORY": str(work / "mps-log")}
    for folder in shared.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **shared}
    try:
        subprocess.run([found, "-d"], env=environment, check=True, timeout=10, capture_output=True)
        probe = "import torch; x = torch.ones(64, 64, device='cuda'); print(float((x @ x).sum()))"
        both = [subprocess.Popen([sys.executable, "-c", probe], env=environment) for _ in range(2)]
        deadline = time.time() + 30
        codes = [process.wait(max(0.1, deadline - time.time())) for process in both]
    except (subprocess.SubprocessError, OSError) as error:
        print("no multi-process service:", error)
        codes = [1]
    if any(codes):
        end_service(shared)
        return {}
    return shared


def end_service(shared: Mapping[str, str]) -> None:
    """Ask the daemon to end, if there is one."""
    found = shutil.which("nvidia-cuda-mps-control", path=f"{os.environ['PATH']}:/usr/local/nvidia/bin:/usr/bin")
    if found is not None and shared:
        environment = {**os.environ, **shared}
        with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for processes that were killed
            subprocess.run([found], input=b"quit -t 2\n", env=environment, timeout=10, capture_output=True, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1e9, help="until those under way are stopped")
    parser.add_argument("--only", nargs="*", help="of jobs, those whose name has one of these in it")
    parser.add_argument("--steps", type=int, help="of every training, to try it out")
    parser.add_argument("--side-by-side", action="store_true", help="on a GPU, by NVIDIA's multi-process service")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    start = time.time()
    module = importlib.import_module(options.module)
    jobs = [job for job in module.JOBS if not options.only or any(part in job.name for part in options.only)]
    if options.steps:
        jobs = [job._replace(settings={**job.settings, "max_steps": options.steps}) for job in jobs]
    if options.worker:
        import torch

        torch.set_num_threads(1)
        work_on(jobs, module.run_job, options.work)
        return
    shutil.rmtree(options.work, ignore_errors=True)
    for name in ("claims", "results", "failed", "runs", "tried"):
        (options.work / name).mkdir(parents=True)
    options.out.mkdir(parents=True, exist_ok=True)
    shared = multi_process_service(options.work) if options.side_by_side else {}
    os.environ.update(shared)
    print(f"{len(jobs)} jobs, side by side: {bool(shared)}", flush=True)
    arguments = [argument for argument in sys.argv[1:] if argument != "--side-by-side"]
    processes = Processes(arguments, options.work, options.workers, {**shared, "OMP_NUM_THREADS": "1"})
    said = start
    while processes.look() and time.time() - start < options.seconds:
        time.sleep(1)
        failed, done = (len(list((options.work / name).iterdir())) for name in ("failed", "results"))
        if failed > MOST_FAILURES and not done:
            print("nothing works: given up", flush=True)
            break
        if time.time() - said > 30:
            said = time.time()
            missing = merge(options.work, options.out, jobs)
            print(f"{time.time() - start:.0f} s: {len(jobs) - len(missing)} of {len(jobs)}", flush=True)
    processes.stop()
    missing = merge(options.work, options.out, jobs)
    pack(options.work, options.out)
    end_service(shared)
    print("not done:", ", ".join(missing) or "none")
    for path in sorted((options.work / "failed").iterdir()):
        print(path.name, path.read_text().strip().splitlines()[-1][:300])
    for log in sorted(options.work.glob("worker-*.log"))[:3]:
        print(log.name, [line for line in log.read_text(errors="replace").splitlines() if "done" in line][-8:])


if __name__ == "__main__":
    main()

"""How fast the viewer's server answers, and how much memory it takes.

python benchmarks/viewer.py --out benchmarks/results/viewer.json

A Probabilistic U-Net of the preset small is trained for two steps (its speed does not depend on its weights), and
`plurimask view` shows it in a process of its own. Measured from outside, over HTTP: from the command to the page; the
first picture; the latent explorer at 128 and 512 pixels; flipping through images; 500 requests at once; memory after
1,000 images; a folder of 5,000 images.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from record import record, write
from viewer_process import Started, started_viewer

from plurimask.commands.main import main as plurimask
from plurimask.data.worlds.lesions import lesion_source, write_folder

SIZES = (128, 512)
NUM_DRAGS, NUM_AT_ONCE, NUM_OPENED, NUM_LISTED = 200, 500, 1000, 5000
SETTINGS = ["--method", "probabilistic-unet", "--preset", "small", "--max-steps", "2", "--num-validations", "1"]


class Viewer:
    """A client of a viewer that was started, with its cookie.

    Args:
        viewer: the process.
        started: when its command was given, by `time.perf_counter`.
    """

    def __init__(self, viewer: Started, started: float) -> None:
        self.process, self.link, self.address = viewer.process, viewer.link, viewer.address
        self.started = started
        self.client = httpx.Client(base_url=self.address, timeout=600, follow_redirects=True)
        self.client.get(self.link).raise_for_status()
        self.seconds_to_page = time.perf_counter() - started

    def get(self, path: str) -> httpx.Response:
        answer = self.client.get(f"/api/{path}")
        answer.raise_for_status()
        return answer

    def wait_for_list(self) -> dict[str, Any]:
        """The first page of the list, as soon as it is there."""
        while self.get("session").json()["data"]["state"] == "opening":
            time.sleep(0.05)
        page: dict[str, Any] = self.get("images?sort=name&limit=60").json()
        return page

    def pause(self) -> None:
        """Score nothing in the background, which would be measured too."""
        origin = {"origin": self.address.rstrip("/")}
        self.client.post("/api/scoring", json={"paused": True}, headers=origin).raise_for_status()

    def megabytes(self) -> float:
        """The memory of the server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def viewing(run: Path, data: Path, work: Path) -> Iterator[Viewer]:
    started = time.perf_counter()
    with started_viewer(run, data, "--out", work / "masks") as viewer:
        client = Viewer(viewer, started)
        try:
            yield client
        finally:
            client.client.close()


def train(work: Path, size: int) -> tuple[Path, Path]:
    """A data set of images of `size` pixels, and a run of it."""
    data, run = work / f"data-{size}", work / f"run-{size}"
    write_folder(lesion_source(num_train=4, num_val=20, seed=1, size=size), data)
    assert plurimask(["train", str(data), *SETTINGS, "--out", str(run)]) == 0
    return data, run


def many_images(work: Path) -> Path:
    """A folder of `NUM_LISTED` images of noise, always the same."""
    folder = work / "many"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(NUM_LISTED):
        picture = random.integers(0, 255, (SIZES[0], SIZES[0]), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"scan-{number:04d}.png")
    return folder


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and longest."""
    ordered = sorted(seconds)
    return {
        "median_ms": round(1000 * statistics.median(ordered), 2),
        "p95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 2),
        "longest_ms": round(1000 * ordered[-1], 2),
    }


def timed(viewer: Viewer, paths: Sequence[str]) -> list[float]:
    seconds = []
    for path in paths:
        start = time.perf_counter()
        viewer.get(path)
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_size(work: Path, size: int) -> dict[str, Any]:
    """First picture, every picture, and the latent explorer."""
    data, run = train(work, size)
    with viewing(run, data, work) as viewer:
        viewer.wait_for_list()
        listed = time.perf_counter() - viewer.started
        viewer.pause()
        start = time.perf_counter()
        sizes = {what: len(viewer.get(f"images/0/{what}").content) for what in ("image", "prediction")}
        first = time.perf_counter() - start
        others = timed(viewer, [f"images/{number}/prediction" for number in range(1, 20)])
        viewer.get("images/0/latent")
        drags = [f"images/0/decode?x={np.sin(k / 9):.3f}&y={np.cos(k / 7):.3f}&base=3" for k in range(NUM_DRAGS + 5)]
        return {
            "seconds_from_command_to_page": round(viewer.seconds_to_page, 2),
            "seconds_from_command_to_list": round(listed, 2),
            "first_picture_seconds": round(first, 3),
            "bytes": sizes,
            "prediction": milliseconds(others),
            "prediction_again": milliseconds(timed(viewer, ["images/0/prediction"] * 50)),
            "latent": milliseconds(timed(viewer, drags)[5:]),
            "megabytes": round(viewer.megabytes()),
        }


def measure_many(run: Path, work: Path) -> dict[str, Any]:
    """500 requests at once, 1,000 images, and a folder of 5,000."""
    folder = many_images(work)
    with viewing(run, folder, work) as viewer:
        page = viewer.wait_for_list()
        listed = time.perf_counter() - viewer.started
        assert page["total"] == NUM_LISTED
        viewer.pause()
        before = viewer.megabytes()
        memory = {}
        for number in range(NUM_OPENED):
            for what in ("image", "prediction"):
                viewer.get(f"images/{number}/{what}")
            if number + 1 in (1, 10, 100, 300, NUM_OPENED):
                memory[str(number + 1)] = round(viewer.megabytes())
        return {
            "listed": {
                "num_images": NUM_LISTED,
                "seconds_from_command_to_page": round(viewer.seconds_to_page, 2),
                "seconds_from_page_to_list": round(listed - viewer.seconds_to_page, 3),
                "page_of_list": milliseconds(timed(viewer, [f"images?offset={60 * k}&limit=60" for k in range(50)])),
            },
            "megabytes_before": round(before),
            "megabytes_after_images": memory,
            "at_once": asyncio.run(at_once(viewer)),
        }


async def at_once(viewer: Viewer) -> dict[str, Any]:
    """Requests for pictures and predictions, all sent together; those that are told to come again do so."""
    again = 0
    seconds: list[float] = []
    limits = httpx.Limits(max_connections=NUM_AT_ONCE)
    async with httpx.AsyncClient(base_url=viewer.address, limits=limits, timeout=600) as client:
        await client.get(viewer.link)

        async def one(number: int) -> int:
            nonlocal again
            path = f"/api/images/{number % 50}/{('image', 'prediction', 'thumbnail')[number % 3]}"
            start = time.perf_counter()
            while (answer := await client.get(path)).status_code == 503:
                again += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
            seconds.append(time.perf_counter() - start)
            return answer.status_code

        start = time.perf_counter()
        codes = await asyncio.gather(*(one(number) for number in range(NUM_AT_ONCE)))
        whole = time.perf_counter() - start
    return {
        "requests": NUM_AT_ONCE,
        "answered": codes.count(200),
        "told_to_come_again": again,
        "seconds": round(whole, 2),
        **milliseconds(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        server: dict[str, Any] = {}
        for size in SIZES:
            server[f"{size} pixels"] = measure_size(work, size)
            print(size, server[f"{size} pixels"], flush=True)
        server |= measure_many(work / f"run-{SIZES[0]}", work)
    config = {"method": "probabilistic-unet", "preset": "small", "num_samples": 16, "num_drags": NUM_DRAGS}
    content = record("viewer", config, {"server": server})
    write(options.out, content)
    print(content)


if __name__ == "__main__":
    main()

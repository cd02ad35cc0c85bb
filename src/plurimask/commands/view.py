"""`plurimask view RUN [DATA | IMAGES]`."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field
from rich.console import Console

from plurimask.commands.parsing import Data, Foreground, ImagePattern, MaskPatterns, Options, RunFolder, console, parse
from plurimask.errors import InputError
from plurimask.files.writing import refuse_unwritable
from plurimask.pretrained import is_pretrained

NEEDED = ("fastapi", "uvicorn")
"""What the viewer is served by."""
HOW_TO_INSTALL = "the viewer is not installed: pip install 'plurimask[view]'"
OPENING_SECONDS = 1.5
"""So long the data may take to open, before the page is opened without them."""


class ViewOptions(Options):
    """Look at a run's samples in the browser: of data with masks, of images, or of images that are dropped in.

    Without DATA, pretrained:NAME shows the examples beside the model.
    """

    run: RunFolder
    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    split: str | None = Field(None, description="which part of the data (default: val, else test, else the first)")
    beside: tuple[Path, ...] = Field((), description="further runs of the same data, to look at side by side")
    samples: int = Field(16, ge=1, le=256, description="masks of each image")
    seed: int = Field(0, description="of the samples: an image has those that `plurimask predict` writes")
    out: Path = Field(Path("saved-masks"), description="folder for the masks that are saved in the page")
    port: int | None = Field(None, ge=1, le=65535, description="of the page (default: 8417, or one that is free)")
    host: str = Field("127.0.0.1", description="where the page can be reached; by default on this machine alone")
    browser: bool = Field(True, description="open the page in the browser")


def main(arguments: Sequence[str]) -> int:
    options = parse(ViewOptions, arguments, "view")
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(HOW_TO_INSTALL)
    if options.data is None and options.images is None and is_pretrained(options.run):
        options = options.model_copy(update={"data": options.run})  # its examples
    if (options.masks or options.foreground or options.split) and options.data is None and options.images is None:
        raise InputError("DATA is missing: give the folder of images and masks, or patterns by --images and --masks")
    if options.out.is_file():
        raise InputError(f"--out {options.out}: a file; give the name of a folder")
    refuse_unwritable(options.out)

    from plurimask.commands.parsing import place_of
    from plurimask.prediction.predict import Sampling
    from plurimask.runs.load import load_run
    from plurimask.viewer.desk import Desk
    from plurimask.viewer.gallery import Gallery
    from plurimask.viewer.serve import Server, is_loopback
    from plurimask.viewer.uploads import Uploads

    say = console()
    runs = [load_run(folder) for folder in (options.run, *options.beside)]
    if any(run.record.data.spatial_dims == 3 for run in runs):
        raise InputError(
            "the viewer shows pictures, and a run was trained on volumes: look at its report (plurimask report), or "
            "open what plurimask predict writes in a viewer of NIfTI files"
        )
    gallery = Gallery(runs[0].record, Uploads())
    opening = None
    if options.data is not None or options.images is not None:
        opening = gallery.start_opening(place_of(options), options.split)
        opening.join(OPENING_SECONDS)
        if gallery.error is not None:
            raise InputError(gallery.error)
    desk = Desk(runs, gallery, Sampling(options.samples, options.seed), options.out)
    with Server(desk, options.host, options.port) as server:
        if not is_loopback(options.host):
            _warn(say, options.host)
        say.print(f"Look at {server.link}", markup=False)
        say.print("The address is for you alone: who has it sees the images. Ctrl-C ends the viewer.")
        if options.browser:
            _open(server.one_time_link)
        if opening is not None:
            opening.join()
            if gallery.error is not None:
                say.print(f"plurimask: {gallery.error}", markup=False)
        server.wait()
    return 0


def _warn(say: Console, host: str) -> None:
    say.print(
        f"--host {host}: other machines can reach this page. Nothing is encrypted: whoever can read the network can "
        "read the token, see all images of the data, save masks into --out and drop in images. Better: leave --host "
        "out, and reach this machine by ssh -L",
        markup=False,
    )


def _open(link: str) -> None:
    """In the browser, if there is one that has a window."""
    has_windows = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if has_windows:
        threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()

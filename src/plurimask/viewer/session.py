"""What the page must know before it shows anything."""

from __future__ import annotations

from typing import Any

from matplotlib.colors import to_hex

from plurimask.figures.colours import PALETTE, SAMPLE_COLOUR, rater_colours
from plurimask.version import __version__
from plurimask.viewer import uploads
from plurimask.viewer.desk import Desk
from plurimask.viewer.pictures import classes_of
from plurimask.viewer.predicting import ShownRun


def session_content(desk: Desk) -> dict[str, Any]:
    """The answer to `GET /api/session`."""
    about, gallery = desk.about, desk.gallery
    classes, opened = classes_of(about), gallery.opened
    rater_names = opened.rater_names if opened else ()
    names = zip(rater_names, rater_colours(len(rater_names)), strict=True)
    return {
        "version": __version__,
        "runs": [_run(number, one) for number, one in enumerate(desk.runs)],
        "num_samples": desk.sampling.num_samples,
        "seed": desk.sampling.seed,
        "classes": [
            {
                "name": name,
                "colour": to_hex(classes.colour(index, SAMPLE_COLOUR) if index in classes.counted else "white"),
                "counted": index in about.counted_classes,
                "value": about.class_values[index],
            }
            for index, name in enumerate(about.class_names)
        ],
        "has_background": about.has_background,
        "is_binary": classes.is_binary,
        "colours": {"sample": SAMPLE_COLOUR, "palette": PALETTE},
        "channels": about.channel_names,
        "raters": [{"name": name, "colour": colour} for name, colour in names],
        "data": {
            "state": gallery.state,
            "error": gallery.error,
            "name": opened.name if opened else None,
            "num_images": len(gallery.data_names),
            "has_raters": gallery.is_labelled,
            "notes": opened.notes if opened else (),
        },
        "sorts": ["name", "disagreement", "quality", "entropy", *["ged"] * gallery.is_labelled],
        "saving": {"folder": desk.saving.folder.name or str(desk.saving.folder)},
        "limits": {
            "upload_bytes": uploads.MAX_BYTES,
            "upload_pixels": uploads.MAX_PIXELS,
            "uploads": uploads.MAX_UPLOADS,
        },
        "scoring": scoring_content(desk),
        "revision": desk.work_list.revision,
    }


def scoring_content(desk: Desk) -> dict[str, Any]:
    """How far scoring in the background is."""
    work_list = desk.work_list
    return {
        "done": [work_list.num_scored(run) for run in range(len(desk.runs))],
        "total": len(desk.gallery.numbers),
        "paused": work_list.is_paused,
    }


def _run(number: int, one: ShownRun) -> dict[str, Any]:
    record = one.run.record
    return {
        "id": number,
        "name": one.name,
        "method": record.method,
        "summary": one.run.method.summary,
        "preset": record.preset,
        "steps": record.steps,
        "undertrained": record.undertrained,
        "center_crop": record.preprocessing.center_crop,
        "latent": one.latent,
    }


def row_content(desk: Desk, run: int, number: int) -> dict[str, Any]:
    """One image of the work list."""
    scores, saved = desk.work_list.scores(run, number), desk.saving.saved(number)
    is_upload = desk.gallery.is_upload(number)
    return {
        "id": number,
        "name": desk.gallery.name(number),
        "upload": is_upload,
        "labelled": desk.gallery.is_labelled and not is_upload,
        "scores": None if scores is None else scores.content(),
        "saved": None if saved is None else {"choice": saved.choice, "file": saved.file},
    }

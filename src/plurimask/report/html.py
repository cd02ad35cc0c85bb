"""What HTML pages are made of: a template with the shared style, and figures as pictures inside the page."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import NamedTuple, TypeAlias

import jinja2
from matplotlib.figure import Figure

from plurimask.figures.style import figure_bytes

STYLES = ("theme.css", "style.css")
"""What all pages share; the viewer takes the first too."""

Named: TypeAlias = tuple[str, str, str, Figure]
"""File name, title, a paragraph, and the figure."""


class Picture(NamedTuple):
    """A figure inside a page."""

    title: str
    text: str
    address: str
    """A data URI."""
    width: int
    """CSS pixels at its natural size."""
    is_chart: bool
    """Lines and words alone, which a dark page shows in dark; a figure of images is never turned."""


def picture(title: str, text: str, figure: Figure, dpi: int) -> Picture:
    """A figure as a picture of so many dots per inch."""
    address, width = data_uri(figure_bytes(figure, dpi), "png"), round(figure.get_figwidth() * 96)
    return Picture(title, text, address, width, not any(axes.images for axes in figure.axes))


def data_uri(content: bytes, file_format: str) -> str:
    """The address of a picture that is its own content."""
    return f"data:image/{file_format};base64,{base64.b64encode(content).decode()}"


def template(room: str, name: str = "page.html") -> jinja2.Template:
    """A page of a room; it may use `style`, what all pages share: the colours of the viewer, and a common look."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    own = files("plurimask.report")
    environment.globals["style"] = "".join(own.joinpath(name).read_text(encoding="utf-8") for name in STYLES)
    return environment.from_string(files(f"plurimask.{room}").joinpath(name).read_text(encoding="utf-8"))

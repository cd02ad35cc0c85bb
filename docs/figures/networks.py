"""Draws the network of each method twice, when it samples and when it trains, into docs/images/network-NAME.svg.

    python docs/figures/networks.py [NAME ...] [--out FOLDER] [--format svg]

A drawing is data: `Node`s at places in inches, and `Link`s between their sides.
`PAINTERS` says how each kind of node looks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Polygon, Rectangle

INK, FAINT = "#222222", "#767676"
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),  # Okabe and Ito, 2008
)
WIDTH, TEXT = 6.8, 7.5
"""Of a drawing in inches, and of its letters in points."""

SCALES, BLOCK = 5, 0.2
"""Of a drawn U-Net, and the height of one of its blocks."""

Colour = tuple[float, float, float]
Point = tuple[float, float]


def tint(colour: str, share: float = 0.45) -> Colour:
    """A colour thinned with white."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


class Node(NamedTuple):
    """Something at (x, y), its centre, of size w x h inches; `detail` is what its painter wants to know besides."""

    kind: str
    x: float
    y: float
    w: float = 0.6
    h: float = 0.4
    text: str = ""
    detail: tuple[int | str, ...] = ()

    def side(self, name: str) -> Point:
        """Where a link meets the node. A U-Net is entered and left at its finest scale."""
        across = {"left": -0.5, "right": 0.5}.get(name, 0.0)
        along = {"bottom": -0.5, "top": 0.5}.get(name, 0.0) * (0.75 if self.kind == "encoder" else 1)
        if self.kind == "simplex":
            across /= 2  # on the triangle's edge, halfway up
        if self.kind == "unet" and across:
            return self.x + across * self.w, self.y + self.h / 2 - BLOCK / 2
        return self.x + across * self.w, self.y + along * self.h


class Link(NamedTuple):
    """An arrow from "node.side" to "node.side". `bend`: "" straight, "hv" first across and then along, "vh", "hvh"."""

    start: str
    end: str
    text: str = ""
    bend: str = ""
    dashed: bool = False


class Panel(NamedTuple):
    title: str
    height: float
    nodes: dict[str, Node]
    links: list[Link]
    notes: list[tuple[float, float, str]] = []


def write(axes: Axes, at: Point, text: str, size: float = TEXT, colour: str = INK, **style: Any) -> None:
    style = {"ha": "center", "va": "center", **style}
    axes.text(*at, text, fontsize=size, color=colour, linespacing=1.15, **style)


def rounded(axes: Axes, node: Node, fill: Colour, edge: str = INK) -> None:
    corner = (node.x - node.w / 2 + 0.04, node.y - node.h / 2 + 0.04)
    style = "round,pad=0.04,rounding_size=0.05"
    line = {"edgecolor": edge, "linewidth": 0.8} if edge else {"edgecolor": "none"}
    axes.add_patch(FancyBboxPatch(corner, node.w - 0.08, node.h - 0.08, boxstyle=style, facecolor=fill, **line))


def paint_box(axes: Axes, node: Node) -> None:
    rounded(axes, node, tint(str(node.detail[0])) if node.detail else (1.0, 1.0, 1.0))
    write(axes, (node.x, node.y), node.text)


def paint_loss(axes: Axes, node: Node) -> None:
    rounded(axes, node, tint(YELLOW, 0.6))
    write(axes, (node.x, node.y), node.text)


def paint_region(axes: Axes, node: Node) -> None:
    """What is computed once for an image ("once"), or again for each sample."""
    rounded(axes, node, tint(SKY, 0.13) if "once" in node.detail else tint(ORANGE, 0.16), "")
    at = (node.x - node.w / 2 + 0.07, node.y + node.h / 2 - 0.05)
    write(axes, at, node.text, TEXT - 0.5, FAINT, ha="left", va="top")


def paint_encoder(axes: Axes, node: Node) -> None:
    """Images to a vector: a trapezoid that narrows."""
    left, right, low, high = node.x - node.w / 2, node.x + node.w / 2, node.h / 2, node.h / 4
    corners = [(left, node.y - low), (left, node.y + low), (right, node.y + high), (right, node.y - high)]
    axes.add_patch(Polygon(corners, facecolor=tint(str(node.detail[0])), edgecolor=INK, linewidth=0.8))
    write(axes, (node.x, node.y), node.text)


def paint_gaussian(axes: Axes, node: Node) -> None:
    """A Gaussian over latents as rings; its draws as dots. "outlined" in `detail`: seen on a ground of its colour."""
    colour = str(node.detail[0])
    for share, size in ((0.18, 1.0), (0.36, 0.68), (0.6, 0.36)):
        axes.add_patch(Ellipse((node.x, node.y), size * node.w, size * node.h, facecolor=tint(colour, share), lw=0))
    if "outlined" in node.detail:
        axes.add_patch(Ellipse((node.x, node.y), node.w, node.h, facecolor="none", edgecolor=colour, linewidth=0.8))
    dots = [(-0.14, 0.12), (0.2, 0.2), (0.07, -0.17), (-0.28, -0.08)][: int(node.detail[1])]
    for across, along in dots:
        axes.plot(node.x + across * node.w, node.y + along * node.h, "o", color=INK, markersize=2.6)
    write(axes, (node.x, node.y - node.h / 2 - 0.03), node.text, va="top")


def paint_image(axes: Axes, node: Node) -> None:
    """A grey picture with a bright spot that has no sharp border; its name above."""
    left, low = node.x - node.w / 2, node.y - node.h / 2
    axes.add_patch(Rectangle((left, low), node.w, node.h, facecolor="0.35", edgecolor=INK, linewidth=0.8))
    for size, grey in ((0.74, 0.42), (0.6, 0.52), (0.46, 0.64), (0.3, 0.78)):
        spot = Ellipse((node.x, node.y), size * node.w, 0.8 * size * node.h, angle=25, facecolor=str(grey))
        axes.add_patch(spot)
    write(axes, (node.x, low + node.h + 0.03), node.text, va="bottom")


MASKS = ((0.0, 0.0, 0.62, 0.5), (0.02, 0.0, 0.4, 0.3), (0.0, 0.02, 0.74, 0.6), (0.0, 0.0, 0.0, 0.0))
"""What the drawn label maps mark, in shares of the map: x, y, width, height of an ellipse. The last marks nothing."""


def paint_masks(axes: Axes, node: Node) -> None:
    """Label maps in a column: `detail` holds their colour and which of `MASKS` they are; -1 is an ellipsis."""
    colour, *variants = node.detail
    step = node.h / len(variants)
    for number, variant in enumerate(variants):
        y = node.y + node.h / 2 - (number + 0.5) * step
        if variant == -1:
            write(axes, (node.x, y), "$\\vdots$", TEXT + 2)
            continue
        corner = (node.x - node.w / 2, y - node.w / 2)
        axes.add_patch(Rectangle(corner, node.w, node.w, facecolor="white", edgecolor=INK, linewidth=0.8))
        dx, dy, width, height = (part * node.w for part in MASKS[int(variant)])
        axes.add_patch(Ellipse((node.x + dx, y + dy), width, height, angle=25, facecolor=str(colour)))
    write(axes, (node.x, node.y - node.h / 2 - 0.03), node.text, va="top")


def paint_probabilities(axes: Axes, node: Node) -> None:
    """A map of probabilities: rings that fade."""
    corner = (node.x - node.w / 2, node.y - node.h / 2)
    axes.add_patch(Rectangle(corner, node.w, node.h, facecolor="white", edgecolor=INK, linewidth=0.8))
    for size, share in ((0.76, 0.25), (0.6, 0.5), (0.42, 1.0)):
        spot = Ellipse((node.x, node.y), size * node.w, 0.8 * size * node.h, angle=25, facecolor=tint(SKY, share))
        axes.add_patch(spot)
    write(axes, (node.x, corner[1] - 0.03), node.text, va="top")


def paint_unet(axes: Axes, node: Node) -> None:
    """Blocks that shrink from scale to scale, encoder on the left, decoder on the right, skip connections across.

    `detail`: names of blocks whose input passes a dropout, "e2" or "d1".
    """
    widths = [0.25 * node.w * 0.8**scale for scale in range(SCALES)]
    fall = (node.h - BLOCK) / (SCALES - 1)
    centres = []
    for scale, width in enumerate(widths):
        y, inset = node.y + node.h / 2 - BLOCK / 2 - scale * fall, 0.085 * node.w * scale
        left = node.x - node.w / 2 + inset + width / 2
        sides = {"e": left, "d": 2 * node.x - left} if scale < SCALES - 1 else {"e": node.x}
        centres.append((sides, y))
        for letter, x in sides.items():
            dropout = f"{letter}{scale}" in node.detail
            fill = tint(SKY) if letter == "e" else tint(GREEN, 0.4)
            block = Rectangle(
                (x - width / 2, y - BLOCK / 2), width, BLOCK, facecolor=fill, edgecolor=INK, linewidth=0.8
            )
            axes.add_patch(block)
            if dropout:
                block.set(hatch="xxxx")
        if len(sides) == 2:
            ends = ((sides["e"] + width / 2, y), (sides["d"] - width / 2, y))
            arrow(axes, [*ends], FAINT, dashed=True)
    for (upper, y), (lower, below) in pairwise(centres):
        arrow(axes, [(upper["e"], y - BLOCK / 2), (lower["e"], below + BLOCK / 2)])
        arrow(axes, [(lower.get("d", lower["e"]), below + BLOCK / 2), (upper["d"], y - BLOCK / 2)])
    for side, text in ((-1, "encoder"), (1, "decoder")):
        at = (node.x + side * (0.5 * node.w - 0.02), node.y - node.h / 2 + BLOCK)
        write(axes, at, text, TEXT - 0.5, FAINT, ha="left" if side < 0 else "right")


def paint_icon(axes: Axes, node: Node) -> None:
    """A whole network, small: a box with a U in it."""
    rounded(axes, node, (1.0, 1.0, 1.0))
    for scale in range(3):
        width, y = 0.16 * 0.75**scale, node.y + 0.09 - 0.09 * scale
        for sign, colour in ((-1, tint(SKY)), (1, tint(GREEN, 0.4))):
            x = node.x - 0.3 * node.w + sign * (0.12 - 0.05 * scale)
            block = Rectangle((x - width / 2, y - 0.03), width, 0.06, facecolor=colour, edgecolor=INK, linewidth=0.5)
            axes.add_patch(block)
    write(axes, (node.x + 0.17 * node.w, node.y), node.text)


def paint_dot(axes: Axes, node: Node) -> None:
    """Where a line forks."""
    axes.plot(node.x, node.y, "o", color=INK, markersize=3)


def paint_join(axes: Axes, node: Node) -> None:
    """A circle with a sign in it, such as a concatenation."""
    axes.add_patch(Ellipse((node.x, node.y), node.w, node.h, facecolor="white", edgecolor=INK, linewidth=0.8))
    write(axes, (node.x, node.y), node.text)


def paint_block(axes: Axes, node: Node) -> None:
    """The features of one scale."""
    corner = (node.x - node.w / 2, node.y - node.h / 2)
    axes.add_patch(Rectangle(corner, node.w, node.h, facecolor=tint(str(node.detail[0])), edgecolor=INK, linewidth=0.8))


def paint_places(axes: Axes, node: Node) -> None:
    """A map of latents: a grid of `detail[1]` x `detail[1]` values, as shades; its name at the upper right."""
    colour, number = str(node.detail[0]), int(node.detail[1])
    left, low, size, count = node.x - node.w / 2, node.y - node.h / 2, node.w / number, number * number
    shades = [0.1 + 0.9 * (place + 0.5) / count for place in range(count)]
    Random(0).shuffle(shades)
    for place, shade in enumerate(shades):
        corner = (left + place % number * size, low + place // number * size)
        axes.add_patch(Rectangle(corner, size, size, facecolor=tint(colour, shade), lw=0))
    axes.add_patch(Rectangle((left, low), node.w, node.h, facecolor="none", edgecolor=INK, linewidth=0.8))
    write(axes, (left + node.w + 0.05, node.y + 0.02), node.text, ha="left", va="bottom")


def paint_simplex(axes: Axes, node: Node) -> None:
    """A Dirichlet over three classes: a triangle with a cloud in it."""
    left, right, low = node.x - node.w / 2, node.x + node.w / 2, node.y - node.h / 2
    corners = [(left, low), (right, low), (node.x, low + node.h)]
    axes.add_patch(Polygon(corners, facecolor="white", edgecolor=INK, linewidth=0.8, joinstyle="round"))
    for share, size in ((0.2, 1.0), (0.45, 0.66), (0.9, 0.3)):
        cloud = (0.4 * size * node.w, 0.26 * size * node.h)
        centre = (node.x - 0.1 * node.w, low + 0.23 * node.h)
        axes.add_patch(Ellipse(centre, *cloud, angle=20, facecolor=tint(PURPLE, share), lw=0))
    write(axes, (node.x, low - 0.03), node.text, va="top")


def paint_speckles(axes: Axes, node: Node) -> None:
    """Label maps in a column whose pixels are drawn one by one; `detail` as of "masks", its numbers are seeds."""
    colour, *seeds = node.detail
    step, count = node.h / len(seeds), 12
    for number, seed in enumerate(seeds):
        y = node.y + node.h / 2 - (number + 0.5) * step
        if seed == -1:
            write(axes, (node.x, y), "$\\vdots$", TEXT + 2)
            continue
        left, low, size, random = node.x - node.w / 2, y - node.w / 2, node.w / count, Random(int(seed))
        axes.add_patch(Rectangle((left, low), node.w, node.w, facecolor="white", lw=0))
        for place in range(count * count):
            row, column = divmod(place, count)
            radius = ((column - 5.5) ** 2 + (1.25 * (row - 5.5)) ** 2) ** 0.5
            if random.random() < min(1.0, max(0.0, (5.2 - radius) / 3)):
                corner = (left + column * size, low + row * size)
                axes.add_patch(Rectangle(corner, size, size, facecolor=str(colour), lw=0))
        axes.add_patch(Rectangle((left, low), node.w, node.w, facecolor="none", edgecolor=INK, linewidth=0.8))
    write(axes, (node.x, node.y - node.h / 2 - 0.03), node.text, va="top")


PAINTERS: dict[str, Callable[[Axes, Node], None]] = {
    "region": paint_region,
    "box": paint_box,
    "loss": paint_loss,
    "encoder": paint_encoder,
    "gaussian": paint_gaussian,
    "image": paint_image,
    "masks": paint_masks,
    "probabilities": paint_probabilities,
    "unet": paint_unet,
    "icon": paint_icon,
    "dot": paint_dot,
    "join": paint_join,
    "block": paint_block,
    "places": paint_places,
    "simplex": paint_simplex,
    "speckles": paint_speckles,
}


def arrow(axes: Axes, points: list[Point], colour: str = INK, dashed: bool = False) -> None:
    """A line through points with a head at the last."""
    line: dict[str, Any] = {"color": colour, "linewidth": 0.9, "linestyle": (0, (3, 2)) if dashed else "-"}
    axes.plot(*zip(*points[:-1], strict=True), **line, solid_capstyle="butt")
    style = {"arrowstyle": "-|>,head_width=0.16,head_length=0.34", "shrinkA": 0, "shrinkB": 0, **line}
    axes.annotate("", points[-1], points[-2], arrowprops=style)


def draw_link(axes: Axes, nodes: dict[str, Node], link: Link) -> None:
    (x0, y0), (x1, y1) = (nodes[name].side(side) for name, side in (end.split(".") for end in (link.start, link.end)))
    middle = (x0 + x1) / 2
    between = {"": [], "hv": [(x1, y0)], "vh": [(x0, y1)], "hvh": [(middle, y0), (middle, y1)]}[link.bend]
    arrow(axes, [(x0, y0), *between, (x1, y1)], dashed=link.dashed)
    if link.text:
        at = {"": (middle, (y0 + y1) / 2), "hv": (middle, y0), "vh": (middle, y1), "hvh": (middle, (y0 + y1) / 2)}
        write(axes, (at[link.bend][0], at[link.bend][1] + 0.03), link.text, va="bottom")


def draw(panels: tuple[Panel, ...]) -> Figure:
    """The panels below each other, without axes, on white."""
    total = sum(panel.height for panel in panels)
    figure, top = Figure(figsize=(WIDTH, total), facecolor="white"), total
    for panel in panels:
        top -= panel.height
        axes = figure.add_axes((0, top / total, 1, panel.height / total))
        axes.set(xlim=(0, WIDTH), ylim=(0, panel.height))
        axes.axis("off")
        write(axes, (0.05, panel.height - 0.13), panel.title, TEXT + 1.5, ha="left", weight="bold")
        for node in panel.nodes.values():
            PAINTERS[node.kind](axes, node)
        for link in panel.links:
            draw_link(axes, panel.nodes, link)
        for x, y, text in panel.notes:
            write(axes, (x, y), text, TEXT - 0.5, FAINT)
    return figure


SAMPLE, TRAIN = "To sample", "To train"
CROSS_ENTROPY = "cross entropy,\nsum over pixels"


def once(left: float, right: float, low: float, high: float, text: str = "once per image") -> Node:
    return Node("region", (left + right) / 2, (low + high) / 2, right - left, high - low, text, ("once",))


def again(left: float, right: float, low: float, high: float, text: str = "once per sample") -> Node:
    return once(left, right, low, high, text)._replace(detail=())


def image(y: float) -> Node:
    return Node("image", 0.37, y, 0.5, 0.5, "image $x$")


def unet(x: float, finest: float, dropout: tuple[str, ...] = ()) -> Node:
    """A U-Net that is entered and left at the height `finest`."""
    return Node("unet", x, finest - 0.65, 2.1, 1.5, detail=dropout)


def box(x: float, y: float, text: str, w: float = 0.72) -> Node:
    return Node("box", x, y, w, 0.42, text, (BLUE,))


def loss(x: float, y: float, text: str = CROSS_ENTROPY, w: float = 1.0) -> Node:
    return Node("loss", x, y, w, 0.42, text)


def encoder(x: float, y: float, text: str, colour: str) -> Node:
    return Node("encoder", x, y, 0.85, 0.56, text, (colour,))


def gaussian(x: float, y: float, text: str, colour: str, draws: int) -> Node:
    return Node("gaussian", x, y, 0.66, 0.42, text, (colour, draws))


def masks(x: float, y: float, h: float, text: str, variants: tuple[int, ...]) -> Node:
    return Node("masks", x, y, 0.36, h, text, (SKY, *variants))


def rater(x: float, y: float, text: str = "map $y$ of a rater", variant: int = 0) -> Node:
    return Node("masks", x, y, 0.44, 0.44, text, (ORANGE, variant))


def unet_panels() -> tuple[Panel, ...]:
    flow = [Link("image.right", "unet.left"), Link("unet.right", "scores.left")]
    sampling = {
        "once": once(0.72, 5.4, 0.05, 1.95),
        "image": image(1.55),
        "unet": unet(2.0, 1.55),
        "scores": box(3.75, 1.55, "1x1 conv,\nsoftmax"),
        "mean": Node("probabilities", 4.9, 1.55, 0.5, 0.5, "$p(y_i \\mid x)$"),
        "masks": masks(6.35, 1.1, 1.3, "all the same", (0, 0, 0)),
    }
    training = {
        "image": image(1.55),
        "unet": unet(2.0, 1.55),
        "scores": box(3.75, 1.55, "1x1 conv"),
        "loss": loss(5.2, 1.55),
        "raters": Node("masks", 6.35, 0.95, 0.36, 1.2, "raters' maps $y$", (ORANGE, 0, 1, 3)),
    }
    end = [Link("scores.right", "mean.left"), Link("mean.right", "masks.left", bend="hvh")]
    back = [Link("scores.right", "loss.left"), Link("raters.left", "loss.bottom", bend="hv")]
    return (
        Panel(SAMPLE, 2.25, sampling, flow + end, [(5.8, 0.88, "most likely\nclass")]),
        Panel(TRAIN, 2.3, training, flow + back, [(5.2, 0.8, "averaged over raters")]),
    )


def probabilistic_unet_panels() -> tuple[Panel, ...]:
    sampling = {
        "once": once(0.72, 4.1, 0.05, 2.5),
        "again": again(4.18, 5.8, 0.05, 2.5),
        "image": image(2.1),
        "unet": unet(2.2, 2.1),
        "prior": encoder(1.5, 0.42, "prior net", ORANGE),
        "p": gaussian(3.0, 0.42, "$p(z \\mid x)$", ORANGE, 4),
        "head": box(4.95, 2.1, "$f_{comb}$\n1x1 convs"),
        "masks": masks(6.35, 1.3, 1.9, "", (0, 1, 3, -1, 2)),
    }
    training = {
        "image": image(2.85),
        "map": rater(0.37, 0.42, "map $y$"),
        "unet": unet(2.2, 2.85),
        "fork": Node("dot", 0.97, 1.1, 0, 0),
        "join": box(0.97, 0.42, "concat", 0.5),
        "prior": encoder(1.85, 1.1, "prior net", ORANGE),
        "posterior": encoder(1.85, 0.42, "posterior\nnet", PURPLE),
        "p": gaussian(2.95, 1.1, "$p(z \\mid x)$", ORANGE, 0),
        "q": gaussian(2.95, 0.42, "$q(z \\mid x, y)$", PURPLE, 1),
        "kl": loss(4.0, 0.88, "$\\beta$ KL$(q\\,\\Vert\\,p)$", 0.9),
        "head": box(4.9, 2.85, "$f_{comb}$\n1x1 convs"),
        "loss": loss(6.15, 2.85),
        "target": rater(6.15, 2.05, "the same map $y$"),
    }
    flow = [Link("image.right", "unet.left"), Link("unet.right", "head.left"), Link("prior.right", "p.left")]
    flow.append(Link("image.bottom", "prior.left", bend="vh"))
    draws = [Link("p.right", "head.bottom", bend="hv"), Link("head.right", "masks.left", bend="hvh")]
    learning = [
        Link("map.right", "join.left"),
        Link("fork.bottom", "join.top"),
        Link("join.right", "posterior.left"),
        Link("posterior.right", "q.left"),
        Link("p.right", "kl.left", bend="hvh"),
        Link("q.right", "kl.bottom", bend="hv"),
        Link("q.right", "head.bottom", bend="hv"),
        Link("head.right", "loss.left"),
        Link("target.top", "loss.bottom"),
    ]
    return (
        Panel(SAMPLE, 2.8, sampling, flow + draws, [(4.56, 0.52, "$z_1 \\ldots z_N$")]),
        Panel(TRAIN, 3.6, training, flow + learning, [(4.1, 0.28, "one draw $z = \\mu + \\sigma\\,\\epsilon$")]),
    )


def energy_score_unet_panels() -> tuple[Panel, ...]:
    scales, pairs = "last scales\nof the decoder", "means over all\npairs, $s \\neq s'$"
    sampling = {
        "once": once(0.72, 3.55, 0.05, 2.2),
        "again": again(3.63, 5.8, 0.05, 2.2),
        "image": image(1.8),
        "unet": unet(2.2, 1.8),
        "p": gaussian(4.1, 0.55, "$N(0, I)$", ORANGE, 4),
        "scales": box(4.75, 1.8, scales, 0.95),
        "masks": masks(6.35, 1.15, 1.9, "", (0, 1, 3, -1, 2)),
    }
    training = {
        "image": image(1.8),
        "unet": unet(1.9, 1.8),
        "p": gaussian(2.95, 0.28, "", ORANGE, 4),
        "scales": box(3.65, 1.8, scales, 0.95),
        "masks": masks(4.75, 1.75, 0.9, "", (0, 3)),
        "raters": Node("masks", 6.35, 1.75, 0.36, 0.9, "raters' $y$", (ORANGE, 2, 3)),
        "far": loss(5.55, 1.75, "$2\\,d(s, y)$", 0.75),
        "near": loss(4.75, 0.55, "$-\\,d(s, s')$", 0.8),
    }
    flow = [
        Link("image.right", "unet.left"),
        Link("unet.right", "scales.left"),
        Link("p.right", "scales.bottom", bend="hv"),
        Link("scales.right", "masks.left", bend="hvh"),
    ]
    learning = [
        Link("masks.right", "far.left"),
        Link("raters.left", "far.right"),
        Link("masks.bottom", "near.top"),
    ]
    return (
        Panel(SAMPLE, 2.5, sampling, flow, [(5.28, 0.9, "$z_1 \\ldots z_N$\nscale and shift")]),
        Panel(TRAIN, 2.6, training, flow + learning, [(5.95, 0.55, pairs), (5.07, 1.05, "$s_1 \\ldots s_n$")]),
    )


DROPPED = ("e2", "e3", "e4", "d3", "d2", "d1")


def dropout_unet_panels() -> tuple[Panel, ...]:
    sampling = {
        "again": again(0.72, 5.0, 0.05, 2.15, ""),
        "once": once(0.72, 1.95, 1.27, 2.15),
        "image": image(1.75),
        "unet": unet(2.3, 1.75, DROPPED),
        "scores": box(4.35, 1.75, "1x1 conv"),
        "masks": masks(6.35, 1.15, 2.05, "", (0, 1, 3, -1, 2)),
    }
    training = {
        "image": image(1.6),
        "unet": unet(2.3, 1.6, DROPPED),
        "scores": box(4.2, 1.6, "1x1 conv"),
        "loss": loss(5.5, 1.6),
        "target": rater(5.5, 0.85),
    }
    flow = [Link("image.right", "unet.left"), Link("unet.right", "scores.left")]
    end = [Link("scores.right", "masks.left", bend="hvh")]
    back = [Link("scores.right", "loss.left"), Link("target.top", "loss.bottom")]
    crossed = "crossed blocks:\ndropout on what comes in"
    return (
        Panel(SAMPLE, 2.45, sampling, flow + end, [(4.15, 0.62, crossed), (4.15, 0.25, "N dropout masks: one batch")]),
        Panel(TRAIN, 2.35, training, flow + back, [(4.05, 0.6, "a new dropout\nmask each step")]),
    )


def ensemble_panels() -> tuple[Panel, ...]:
    heights, names = (1.62, 1.05, 0.3), ("1", "2", "M")
    sampling, links = {"once": once(0.9, 4.0, 0.03, 2.1), "image": image(1.05)}, []
    training, learning = {"data": once(0.04, 0.7, 0.1, 1.95, "images $x$\nand maps $y$")}, []
    training |= {"image": image(1.3)._replace(text=""), "map": rater(0.37, 0.55, "")}
    for y, name, variant in zip(heights, names, (0, 1, 3), strict=True):
        member = Node("icon", 2.4, y, 1.25, 0.42, f"member {name}")
        sampling |= {name: member, f"mask {name}": masks(4.75, y, 0.36, "", (variant,))}
        links += [Link("image.right", f"{name}.left", bend="hvh"), Link(f"{name}.right", f"mask {name}.left")]
        own = Node("box", 1.85, y, 1.5, 0.42, "own initial weights,\norder and rater draws", (ORANGE,))
        training |= {
            f"own {name}": own,
            name: member._replace(x=3.85),
            f"loss {name}": loss(5.6, y, f"loss {name}", 0.7),
        }
        learning += [
            Link("data.right", f"own {name}.left", bend="hvh"),
            Link(f"own {name}.right", f"{name}.left"),
            Link(f"{name}.right", f"loss {name}.left"),
        ]
    said = "each member once\nbefore any repeats"
    dots = [(2.4, 0.68, "$\\vdots$"), (4.75, 0.68, "$\\vdots$")]
    more = [(1.85, 0.68, "$\\vdots$"), (3.85, 0.68, "$\\vdots$"), (5.6, 0.68, "$\\vdots$")]
    return (
        Panel(SAMPLE, 2.4, sampling, links, [*dots, (5.9, 1.05, said)]),
        Panel(TRAIN, 2.35, training, learning, [*more, (6.4, 1.05, "nothing\nis shared")]),
    )


def m_heads_panels() -> tuple[Panel, ...]:
    heights, names = (1.75, 1.25, 0.4), ("1", "2", "M")
    sampling = {"once": once(0.72, 5.1, 0.05, 2.15), "image": image(1.75), "unet": unet(2.0, 1.75)}
    training = {"image": image(1.75), "unet": unet(2.0, 1.75), "map": rater(6.5, 1.25, "map $y$", 1)}
    flow = [Link("image.right", "unet.left")]
    links, learning = [*flow], [*flow]
    weights = ("$\\epsilon / (M-1)$", "best: $1 - \\epsilon$", "$\\epsilon / (M-1)$")
    notes = []
    for y, name, variant, weight in zip(heights, names, (0, 1, 3), weights, strict=True):
        head = Node("box", 4.0, y, 0.72, 0.36, f"head {name}\n1x1 convs", (BLUE,))
        sampling |= {name: head, f"mask {name}": masks(5.55, y, 0.36, "", (variant,))}
        entropy = Node("loss", 4.6, y, 0.7, 0.36, f"cross\nentropy {name}")
        training |= {name: head._replace(x=3.62, w=0.66), f"loss {name}": entropy}
        to_head = Link("unet.right", f"{name}.left", bend="hvh")
        links += [to_head, Link(f"{name}.right", f"mask {name}.left")]
        learning += [to_head, Link(f"{name}.right", f"loss {name}.left")]
        learning.append(Link("map.left", f"loss {name}.right", bend="hvh"))
        notes.append((5.29, y + 0.1, weight))
    dots = [(4.0, 0.82, "$\\vdots$")]
    return (
        Panel(SAMPLE, 2.45, sampling, links, [*dots, (5.55, 0.82, "$\\vdots$"), (6.3, 1.0, "one mask\nper head")]),
        Panel(TRAIN, 2.5, training, learning, [(3.62, 0.82, "$\\vdots$"), (4.6, 0.82, "$\\vdots$"), *notes]),
    )


def image2image_vae_panels() -> tuple[Panel, ...]:
    sampling = {
        "again": again(0.72, 5.65, 0.05, 2.15),
        "image": image(1.75),
        "p": gaussian(0.37, 0.75, "$\\mathcal{N}(0, I)$", ORANGE, 3),
        "tile": box(1.25, 0.75, "tile", 0.5),
        "concat": box(1.25, 1.75, "concat", 0.6),
        "unet": unet(2.95, 1.75),
        "scores": box(4.85, 1.75, "1x1 conv"),
        "masks": masks(6.35, 1.15, 2.05, "", (0, 1, 3, -1, 2)),
    }
    training = {
        "image": image(2.3),
        "fork": Node("dot", 1.15, 2.3, 0, 0),
        "map": rater(0.37, 0.5, "map $y$"),
        "posterior": encoder(1.15, 0.5, "posterior\nencoder", PURPLE),
        "q": gaussian(2.1, 0.5, "$q(z \\mid x, y)$", PURPLE, 1),
        "tile": box(2.1, 1.3, "tile", 0.5),
        "concat": box(2.1, 2.3, "concat", 0.6),
        "unet": unet(3.65, 2.3),
        "scores": box(5.2, 2.3, "1x1\nconv", 0.5),
        "loss": loss(6.22, 2.3),
        "target": rater(6.22, 1.55, "the same map $y$"),
        "kl": loss(3.65, 0.5, "$\\beta$ KL$(q\\,\\Vert\\,\\mathcal{N}(0, I))$,  $\\beta = 10$", 1.75),
    }
    flow = [
        Link("image.right", "concat.left"),
        Link("tile.top", "concat.bottom"),
        Link("concat.right", "unet.left"),
        Link("unet.right", "scores.left"),
    ]
    draws = [Link("p.right", "tile.left", "$z$"), Link("scores.right", "masks.left", bend="hvh")]
    learning = [
        Link("fork.bottom", "posterior.top"),
        Link("map.right", "posterior.left"),
        Link("posterior.right", "q.left"),
        Link("q.top", "tile.bottom"),
        Link("q.right", "kl.left"),
        Link("scores.right", "loss.left"),
        Link("target.top", "loss.bottom"),
    ]
    return (
        Panel(SAMPLE, 2.45, sampling, flow + draws),
        Panel(TRAIN, 3.05, training, flow + learning, [(2.45, 0.9, "one draw $z$")]),
    )


LEVELS = 4
"""Of the drawn hierarchy, z_1 the coarsest."""
RUNGS = (3.66, 3.16, 2.48, 1.8, 1.12, 0.44)
"""Heights of its scales, finest first; the last four have latents."""
RISE = 0.35
"""From a scale with latents to where they join the features."""


class Core(NamedTuple):
    """A U-Net drawn as a ladder: an encoder that goes down, a decoder that goes up, Gaussians beside the decoder.

    The nodes of "p" are "p e0" ... (encoder, finest first), "p d0" ... (decoder), "p 1" ... (Gaussians, coarsest first)
    and "p join 1" ... (where latents join the features).
    """

    name: str
    encoder: float
    decoder: float
    gaussian: float
    colour: str
    """The three columns, and how the Gaussians look."""
    finest: int
    """The last scale that the decoder goes to."""
    draws: int

    def joins(self) -> range:
        """Levels whose latents the decoder goes on with."""
        return range(1, LEVELS + (self.finest < len(RUNGS) - LEVELS))

    def nodes(self) -> dict[str, Node]:
        name, last, nodes = self.name, len(RUNGS) - 1, dict[str, Node]()
        for scale, y in enumerate(RUNGS):
            width = 0.5 * 0.88**scale
            nodes[f"{name} e{scale}"] = Node("block", self.encoder, y, width, BLOCK, detail=(SKY,))
            if self.finest <= scale < last:
                nodes[f"{name} d{scale}"] = Node("block", self.decoder, y, width, BLOCK, detail=(GREEN,))
        nodes[f"{name} d{last}"] = Node("dot", self.decoder, RUNGS[last], 0, 0)
        for level in range(1, LEVELS + 1):
            y = RUNGS[last + 1 - level]
            nodes[f"{name} {level}"] = Node(
                "gaussian", self.gaussian, y, 0.5, 0.26, "", (self.colour, self.draws, "outlined")
            )
            if level in self.joins():
                nodes[f"{name} join {level}"] = Node("join", self.decoder, y + RISE, 0.15, 0.15, "c")
        return nodes

    def links(self) -> list[Link]:
        name, last = self.name, len(RUNGS) - 1
        to_decoder = ("right", "left") if self.encoder < self.decoder else ("left", "right")
        to_gaussian = ("right", "left") if self.decoder < self.gaussian else ("left", "right")
        links = [Link(f"{name} e{scale}.bottom", f"{name} e{scale + 1}.top") for scale in range(last)]
        for scale in range(last, self.finest - 1, -1):
            level, below, above = last + 1 - scale, f"{name} d{scale}.top", f"{name} d{scale - 1}.bottom"
            features = f"{name} e{scale}.{to_decoder[0]}"
            if scale < last:
                links.append(Link(features, f"{name} d{scale}.{to_decoder[1]}", dashed=True))
                features = f"{name} d{scale}.{to_gaussian[0]}"
            if level <= LEVELS:
                links.append(Link(features, f"{name} {level}.{to_gaussian[1]}"))
            if level in self.joins():
                links += [Link(below, f"{name} join {level}.bottom"), Link(f"{name} join {level}.top", above)]
            elif scale > self.finest:
                links.append(Link(below, above))
        return links


def latents(x: float, colour: str, names: tuple[str, ...]) -> dict[str, Node]:
    """Draws "z 1" ... over the Gaussians at x, with twice as many places along each side from level to level."""
    heights = RUNGS[: -LEVELS - 1 : -1]
    return {
        f"z {level}": Node("places", x, y + RISE, 0.24, 0.24, name, (colour, 2 ** (level - 1)))
        for level, (y, name) in enumerate(zip(heights, names, strict=True), 1)
    }


def hierarchical_probabilistic_unet_panels() -> tuple[Panel, ...]:
    levels, top = range(1, LEVELS + 1), RUNGS[0]
    names = [
        "$z_1$: one place",
        *(f"$z_{level}$: {2 ** (level - 1)} x {2 ** (level - 1)} places" for level in levels[1:]),
    ]
    core = Core("p", 1.45, 2.95, 4.1, ORANGE, 0, 4)
    sampling = {
        "once": once(0.72, 2.3, 0.05, 4.08),
        "again": again(2.4, 5.8, 0.05, 4.08, "again for each sample"),
        "image": image(top),
        **core.nodes(),
        **latents(4.1, ORANGE, tuple(names)),
        "scores": box(4.6, top, "1x1 conv,\nsoftmax"),
        "masks": masks(6.35, 2.2, 2.4, "", (0, 1, 3, -1, 2)),
    }
    prior, posterior = Core("p", 5.72, 4.92, 4.22, ORANGE, 0, 0), Core("q", 1.26, 1.98, 2.68, PURPLE, 2, 1)
    training = {
        "again": again(0.68, 5.3, 0.05, 4.08, "again for each rater"),
        "once": once(5.36, 6.1, 0.05, 4.08, "once per\nimage"),
        "image": image(top),
        "map": rater(0.37, 2.78, "map $y$"),
        "concat": Node("join", 0.83, top, 0.15, 0.15, "c"),
        "its image": image(top)._replace(x=6.46),
        **prior.nodes(),
        **posterior.nodes(),
        **latents(2.68, PURPLE, tuple(f"$z_{level}$" for level in levels)),
        **{f"kl {level}": loss(3.44, RUNGS[-level], f"KL$_{level}$", 0.5)._replace(h=0.28) for level in levels},
        "scores": box(4.2, top, "1x1\nconv", 0.48),
        "loss": loss(3.3, top, "$L$: cross entropy\nof hard pixels", 0.98),
        "target": rater(3.3, top - 0.5, "")._replace(w=0.3, h=0.3),
        "geco": loss(2.15, top, "$\\lambda\\,($average$(L) - \\kappa n)$\n$+\\,$KL$_1 + \\ldots +$ KL$_4$", 1.1),
    }
    flow = [Link("image.right", "p e0.left"), *core.links(), Link("p d0.right", "scores.left")]
    flow.append(Link("scores.right", "masks.left", bend="hvh"))
    learning = [
        Link("image.right", "concat.left"),
        Link("map.right", "concat.bottom", bend="hv"),
        Link("concat.right", "q e0.left"),
        Link("its image.left", "p e0.right"),
        *prior.links(),
        *posterior.links(),
        Link("p d0.left", "scores.right"),
        Link("scores.left", "loss.right"),
        Link("target.top", "loss.bottom"),
        Link("loss.left", "geco.right"),
    ]
    for level in levels:
        flow += [Link(f"p {level}.top", f"z {level}.bottom"), Link(f"z {level}.left", f"p join {level}.right")]
        learning += [Link(f"q {level}.top", f"z {level}.bottom"), Link(f"z {level}.right", f"p join {level}.left")]
        learning += [Link(f"q {level}.right", f"kl {level}.left"), Link(f"p {level}.left", f"kl {level}.right")]
        if level in posterior.joins():
            learning.append(Link(f"z {level}.left", f"q join {level}.right"))
    given = "$p(z_l \\mid z_{<l}, x)$"
    said = [
        (1.45, 0.2, "prior core's encoder"),
        (2.95, 0.2, "its decoder"),
        (4.1, 0.2, given),
        (3.75, 3.16, "stitching decoder"),
        (5.3, 0.3, "c: joined\nas channels"),
    ]
    told = [
        (1.6, 0.2, "posterior core"),
        (2.68, 0.2, "$q(z_l \\mid z_{<l}, x, y)$"),
        (4.12, 0.2, given),
        (4.92, 0.2, "prior core"),
        (5.73, 0.2, "its encoder"),
        (3.68, RUNGS[-1] + RISE + 0.07, "drawn from $q$, for both"),
        (3.95, 3.16, "the same map $y$"),
        (2.15, 3.3, "$\\lambda$ grows while\naverage$(L) > \\kappa n$"),
    ]
    return (Panel(SAMPLE, 4.36, sampling, flow, said), Panel(TRAIN, 4.4, training, learning, told))


def bayes_by_backprop_panels() -> tuple[Panel, ...]:
    sampling = {
        "again": again(0.72, 5.0, 0.05, 2.62, "again for each sample"),
        "image": image(2.15),
        "unet": unet(2.2, 2.15),
        "q": gaussian(4.2, 0.62, "$q(w) = N(\\mu, \\sigma^2)$", ORANGE, 3),
        "scores": box(4.2, 2.15, "1x1 conv,\nsoftmax"),
        "masks": masks(6.35, 1.3, 2.05, "", (0, 1, 3, -1, 2)),
    }
    training = {
        "image": image(2.15),
        "unet": unet(2.2, 2.15),
        "scores": box(3.95, 2.15, "1x1 conv"),
        "q": gaussian(3.95, 0.62, "$q(w)$", ORANGE, 1),
        "p": Node("gaussian", 6.35, 0.62, 0.66, 0.42, "prior $p(w)$", (GREEN, 0)),
        "kl": loss(5.2, 0.62, "KL$(q \\,\\|\\, p)$, its share\nof this batch", 1.15),
        "loss": loss(5.2, 2.15),
        "target": rater(6.35, 1.5, "map $y$"),
    }
    flow = [
        Link("image.right", "unet.left"),
        Link("unet.right", "scores.left"),
        Link("q.left", "unet.bottom", bend="hv"),
        Link("scores.right", "masks.left", bend="hvh"),
    ]
    learning = [
        Link("image.right", "unet.left"),
        Link("unet.right", "scores.left"),
        Link("q.left", "unet.bottom", bend="hv"),
        Link("scores.right", "loss.left"),
        Link("target.left", "loss.bottom", bend="hv"),
        Link("q.right", "kl.left"),
        Link("p.left", "kl.right"),
    ]
    said = [(3.0, 0.4, "all weights drawn,\nfor all images")]
    told = [(2.95, 0.4, "values drawn by the\nweights' mean and $\\sigma$")]
    return (Panel(SAMPLE, 2.92, sampling, flow, said), Panel(TRAIN, 2.9, training, learning, told))


def probabilistic_backpropagation_panels() -> tuple[Panel, ...]:
    (sampling, _) = bayes_by_backprop_panels()
    nodes = {**sampling.nodes, "q": gaussian(4.2, 0.62, "$q(w) = N(m, v)$", ORANGE, 3)}
    training = {
        "image": image(2.15),
        "unet": unet(2.2, 2.15),
        "scores": box(4.0, 2.15, "mean, variance\nof the scores", 0.95),
        "q": gaussian(3.95, 0.62, "$q(w) = N(m, v)$", ORANGE, 0),
        "loss": loss(5.45, 2.15, "evidence\n$\\ln Z$", 0.75),
        "new": loss(5.45, 0.62, "$m + a\\,v\\,g$,\n$1/(1/v + c)$", 0.95),
        "target": rater(6.4, 2.15, "map $y$"),
    }
    learning = [
        Link("image.right", "unet.left"),
        Link("unet.right", "scores.left"),
        Link("q.left", "unet.bottom", bend="hv"),
        Link("scores.right", "loss.left"),
        Link("target.left", "loss.right"),
        Link("loss.bottom", "new.top", dashed=True),
        Link("new.left", "q.right", dashed=True),
    ]
    told = [(2.95, 0.4, "means and variances\nthrough all layers")]
    again_and = Panel(SAMPLE, sampling.height, nodes, sampling.links, sampling.notes)
    return (again_and, Panel(TRAIN, 2.9, training, learning, told))


def swag_panels() -> tuple[Panel, ...]:
    heights, names = (1.62, 1.05, 0.3), ("1", "2", "S")
    sampling, links = {"once": once(0.9, 4.2, 0.03, 2.1), "image": image(1.05)}, []
    for y, name, variant in zip(heights, names, (0, 1, 2), strict=True):
        sampling |= {
            name: Node("icon", 2.5, y, 1.25, 0.42, f"draw {name}"),
            f"mask {name}": masks(4.9, y, 0.36, "", (variant,)),
        }
        links += [Link("image.right", f"{name}.left", bend="hvh"), Link(f"{name}.right", f"mask {name}.left")]
    dots = [(2.5, 0.68, "$\\vdots$"), (4.9, 0.68, "$\\vdots$")]
    said = (5.95, 1.05, "each network once\nbefore any repeats")
    top, low = 1.5, 0.5
    training = {
        "base": Node("icon", 0.78, top, 1.3, 0.42, "trained"),
        "sgd": Node("box", 2.45, top, 1.15, 0.42, "SGD, its learning\nrate kept up", (BLUE,)),
        "way": Node("box", 4.2, top, 1.25, 0.56, "weights $w_1, w_2, \\ldots$\nof every $c$-th step", (SKY,)),
        "law": gaussian(5.85, top, "", ORANGE, 4),
        "norm": Node("box", 4.2, low, 1.25, 0.42, "batch-norm statistics\nof each draw", (GREEN,)),
        "draws": Node("icon", 2.3, low, 1.3, 0.42, "1 ... S"),
    }
    learning = [
        Link("base.right", "sgd.left"),
        Link("sgd.right", "way.left"),
        Link("way.right", "law.left", "$m, v, D$"),
        Link("law.bottom", "norm.right", "$S$ draws", bend="vh"),
        Link("norm.left", "draws.right"),
    ]
    law = "$N(m,$ diag$(v)/2 \\,+$\n$D D^T / (2 (K - 1)))$"
    told = [(5.85, 1.98, law), (0.78, 1.12, "any method,\nits own loss"), (1.05, low, "kept in\nthe run")]
    return (
        Panel(SAMPLE, 2.4, sampling, links, [*dots, said]),
        Panel(TRAIN, 2.3, training, learning, told),
    )


def lane(finest: float) -> Node:
    """A U-Net for means or for variances, lower than `unet`."""
    return Node("unet", 1.95, finest - 0.55, 2.1, 1.3)


def lightweight_probabilistic_panels() -> tuple[Panel, ...]:
    upper, lower = 3.0, 1.37
    sampling = {
        "once": once(0.72, 5.88, 0.03, 3.3),
        "image": image(upper),
        "noise": Node("box", 0.37, lower, 0.58, 0.42, "noise\nvariance", (ORANGE,)),
        "means": lane(upper),
        "variances": lane(lower),
        "mu": box(3.4, upper, "1x1 conv", 0.56),
        "v": box(3.4, lower, "1x1 conv", 0.56),
        "m": box(4.38, upper, "softmax", 0.62),
        "s": box(4.38, lower, "$c_1 + c_2 \\,\\cdot$\n$\\sqrt{\\Sigma_j m_j v_j}$", 0.78),
        "law": Node("simplex", 5.2, lower, 0.56, 0.48),
        "closed": Node("box", 5.2, 0.42, 1.26, 0.54, "mean, variance,\nentropy, mutual infor-\nmation: closed forms"),
        "masks": Node("speckles", 6.35, 1.95, 0.44, 2.1, "", (SKY, 0, 1, 2, -1)),
    }
    flow = [
        Link("image.right", "means.left"),
        Link("noise.right", "variances.left"),
        Link("means.right", "mu.left"),
        Link("variances.right", "v.left"),
        Link("mu.right", "m.left", "$\\mu$"),
        Link("v.right", "s.left", "$v$"),
        Link("m.bottom", "s.top"),
        Link("m.right", "law.top", bend="hv"),
        Link("s.right", "law.left", "$s$"),
        Link("law.bottom", "closed.top"),
        Link("law.right", "masks.left", bend="hvh"),
    ]
    said = [
        (1.95, 1.66, "the same weights, squared"),
        (4.47, 2.3, "$m$"),
        (5.5, 2.3, "Dirichlet:\n$\\alpha = m / s$"),
        (6.33, 0.93, "each pixel\nby itself"),
    ]
    rows, columns = (0.85, 0.32), {"in": 0.47, "conv": 1.77, "relu": 3.25, "out": 4.6}
    texts = {
        "in": ("means $\\mu$", "variances $v$"),
        "conv": ("$W \\mu + b$", "$W^2 v$"),
        "relu": ("$\\sigma h$", "$v \\,(\\Phi - h\\,l)$"),
        "out": ("means", "variances"),
    }
    layer = {
        "once": once(1.2, 2.34, 0.04, 1.3, "convolution"),
        "again": once(2.68, 3.82, 0.04, 1.3, "ReLU"),
        **{
            f"{name} {row}": Node("box", x, rows[row], 0.82, 0.36, texts[name][row], (SKY if row == 0 else ORANGE,))
            for name, x in columns.items()
            for row in (0, 1)
        },
    }
    inside = [
        Link(f"{before} {row}.right", f"{after} {to}.left")
        for before, after in pairwise(columns)
        for row in (0, 1)
        for to in ((0, 1) if after == "relu" else (row,))
    ]
    told = [(5.95, 0.6, "$\\sigma = \\sqrt{v}$,  $a = \\mu / \\sigma$\n$h = a\\,\\Phi(a) + \\phi(a)$\n$l = h - a$")]
    height = 1.25
    training = {
        "image": image(height),
        "net": Node("icon", 1.75, height, 1.25, 0.42, "$\\mu$ and $v$"),
        "noise": Node("box", 1.75, 0.38, 0.95, 0.36, "noise variance", (ORANGE,)),
        "law": Node("simplex", 3.3, height, 0.56, 0.48),
        "scale": Node("box", 3.3, 0.38, 1.5, 0.42, "$c_1, c_2$: learned, with\na rate of their own"),
        "loss": loss(5.0, height, "$-\\ln\\,$Dir$(t \\mid \\alpha)$,\nsum over pixels", 1.15),
        "smooth": box(5.0, 0.38, "$t$: smoothed", 0.85),
        "map": rater(6.3, 0.38, ""),
    }
    learning = [
        Link("image.right", "net.left"),
        Link("noise.top", "net.bottom"),
        Link("net.right", "law.left"),
        Link("scale.top", "law.bottom"),
        Link("law.right", "loss.left", "$\\alpha = m / s$"),
        Link("map.left", "smooth.right"),
        Link("smooth.top", "loss.bottom"),
    ]
    return (
        Panel(SAMPLE, 3.72, sampling, flow, said),
        Panel("Inside: means and variances through a layer", 1.7, layer, inside, told),
        Panel(TRAIN, 2.0, training, learning, [(6.28, 0.72, "map $y$ of a rater")]),
    )


PANELS: dict[str, Callable[[], tuple[Panel, ...]]] = {
    "unet": unet_panels,
    "probabilistic-unet": probabilistic_unet_panels,
    "dropout-unet": dropout_unet_panels,
    "ensemble": ensemble_panels,
    "m-heads": m_heads_panels,
    "image2image-vae": image2image_vae_panels,
    "hierarchical-probabilistic-unet": hierarchical_probabilistic_unet_panels,
    "energy-score-unet": energy_score_unet_panels,
    "lightweight-probabilistic": lightweight_probabilistic_panels,
    "bayes-by-backprop": bayes_by_backprop_panels,
    "probabilistic-backpropagation": probabilistic_backpropagation_panels,
    "swag": swag_panels,
}


def main() -> None:
    """Draws the named methods, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PANELS)}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "images", help="folder")
    parser.add_argument("--format", default="svg", choices=("svg", "png"))
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.names} - {*PANELS}):
        parser.error(f"no drawing of {', '.join(unknown)}; there are {', '.join(PANELS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    mpl.rcParams["hatch.linewidth"] = 0.6
    mpl.rcParams["svg.hashsalt"] = "plurimask"  # the same drawing is the same file
    for name in arguments.names or PANELS:
        path = arguments.out / f"network-{name}.{arguments.format}"
        draw(PANELS[name]()).savefig(path, dpi=160, metadata={"Date": None} if arguments.format == "svg" else None)
        print(path)


if __name__ == "__main__":
    main()

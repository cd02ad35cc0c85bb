"""How the microscope shows traps and cells: edges, halos, texture, what floats about, blur and noise.

Lengths are in units of 1/128 of the side, brightness in the contrast of the standardised real images, whose profiles
across the outlines stand here as numbers; the medium is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from plurimask.data.worlds.common import Array, blurred_noise, turned
from plurimask.data.worlds.trap_scene import NUM_DIRECTIONS, SIDE, Cell, Layer, Scene

_TURN = np.arange(NUM_DIRECTIONS) * (2 * np.pi / NUM_DIRECTIONS)
_LIGHT = -0.5  # direction from which the optics darken a rim: right, a little upwards
_BRIGHTEST = 4.5  # halos that meet saturate here


def paint(scene: Scene, layers: Sequence[Layer], size: int, generator: np.random.Generator) -> Array:
    """The image `(size, size)`, standardised: mean 0, standard deviation 1.

    Args:
        scene: what there is.
        layers: the objects of the scene, in order, on the pixels.
        size: height and width, pixels.
        generator: of all that is not in the scene: texture, debris, illumination, noise.
    """
    unit = SIDE / size
    nearest = np.full((size, size), np.inf)
    halo, edges, inside = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    texture = _smooth_noise(size, 1.1 / unit, generator)
    light = _LIGHT + generator.normal(0, 0.15)
    for shape, layer in zip(scene.objects, layers, strict=True):
        if isinstance(shape, Cell):
            drawn = _paint_cell(shape, layer, texture[layer.window], unit, generator)
        else:
            drawn = _paint_trap(layer, light, generator)
        halo[layer.window] += drawn[0]
        edges[layer.window] += drawn[1]
        is_nearer = layer.distance < nearest[layer.window]
        inside[layer.window] = np.where(is_nearer, drawn[2], inside[layer.window])
        nearest[layer.window] = np.minimum(nearest[layer.window], layer.distance)
    cover = _step(nearest, 0.5)  # 1 within an object, 0 outside
    halo = _BRIGHTEST * np.tanh(halo / _BRIGHTEST)
    image = (1 - cover) * (halo + _debris(nearest, unit, generator)) + edges + cover * inside
    image = gaussian_filter(image, np.hypot(scene.blur, 0.35) / unit, mode="nearest", truncate=3)
    image += _smooth_noise(size, size / 5, generator) * 0.12 + _slope(size, generator)
    image += _smooth_noise(size, 0.5, generator) * generator.uniform(0.06, 0.13)
    standardised: Array = (image - image.mean()) / image.std()
    return standardised


def _paint_trap(layer: Layer, light: float, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Halo, edges and inside in the window of a trap, all `(h, w)`."""
    distance, towards = layer.distance, np.cos(_TURN - light)[layer.direction]
    foot = np.cos(_TURN - light - 1.4)[layer.direction]
    depth = generator.uniform(0.9, 1.15)
    halo = 3.5 * _fall(distance, 6.0) * (1 - 0.12 * foot)
    rim = -(3.4 + 1.9 * towards) * depth * _bump(distance, -1.0, 1.0)
    line = (1.35 + 0.9 * foot + 0.5 * towards) * _bump(distance, -3.4, 0.9)
    band = -(1.8 - 0.9 * towards - 0.3 * foot) * _bump(distance, -6.4, 2.5)
    return halo, rim + line, band


def _paint_cell(
    cell: Cell, layer: Layer, texture: Array, unit: float, generator: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Halo, edges and inside in the window of a cell, all `(h, w)`."""
    distance, strength, spread = layer.distance, cell.strength, cell.defocus
    uneven = 1 + 0.25 * np.cos(_TURN - generator.uniform(0, 2 * np.pi))[layer.direction]
    depth, shine = generator.uniform(2.4, 3.6), generator.uniform(2.0, 3.0)
    halo = strength * shine * _fall(distance - spread, 4.5 + spread)
    width = np.hypot(1.05, spread)
    rim = -strength * depth * uneven * (1.05 / width) ** 0.4 * _bump(distance, -0.9 - 1.2 * spread, width)
    if spread:
        middle = np.exp(-(((distance + cell.radius) / (0.38 * cell.radius)) ** 2))
        return halo, rim, strength * (generator.uniform(0.8, 2) * middle - 0.8) + 0.2 * texture
    inside = generator.uniform(-0.4, -0.1) - 0.45 * np.exp(np.minimum(distance, 0) / 3.5)
    inside += texture * generator.uniform(0.25, 0.55)
    if cell.radius > 11 and generator.random() < 0.3:
        inside = _add_vacuole(cell, layer, inside, unit, generator)
    inside += _granules(cell, layer, unit, generator)
    return halo, rim, inside


def _grid(layer: Layer, unit: float) -> tuple[Array, Array]:
    """Rows and columns of the window's pixels, units."""
    rows, columns = layer.window
    return (
        ((np.arange(rows.start, rows.stop) + 0.5) * unit)[:, None],
        ((np.arange(columns.start, columns.stop) + 0.5) * unit)[None, :],
    )


def _add_vacuole(cell: Cell, layer: Layer, inside: Array, unit: float, generator: np.random.Generator) -> Array:
    """A large clear bubble with a bright border, dark on one side."""
    radius = cell.radius * generator.uniform(0.35, 0.62)
    angle, rows, columns = generator.uniform(0, 2 * np.pi), *_grid(layer, unit)
    off = (cell.radius - radius) * generator.uniform(0.2, 0.6)
    down = rows - cell.centre[0] - off * np.sin(angle)
    right = columns - cell.centre[1] - off * np.cos(angle)
    distance = np.hypot(down, right) - radius
    side = (np.cos(angle) * right + np.sin(angle) * down) / (radius + 1)  # 1 towards the cell's border
    clear = _step(distance, 0.6)
    edge = 0.7 * (1 + 0.3 * side) * _bump(distance, -0.8, 0.9) - (0.5 - 0.8 * side) * _bump(distance, 1.2, 1.3)
    smooth: Array = inside * (1 - 0.8 * clear) + edge
    return smooth


def _granules(cell: Cell, layer: Layer, unit: float, generator: np.random.Generator) -> Array:
    """Dark grains and a few bright ones, more or less in a heap."""
    rows, columns = _grid(layer, unit)
    heap = cell.centre + generator.normal(0, 0.22 * cell.radius, 2)
    grains = np.zeros_like(layer.distance)
    for _ in range(generator.integers(3, 10)):
        row, column = heap + generator.normal(0, 0.22 * cell.radius, 2)
        width, brightness = generator.uniform(0.6, 1.3), generator.choice((-1.0, -1.0, -1.0, 0.6))
        grains += (
            brightness
            * generator.uniform(0.6, 2.2)
            * np.exp(-((rows - row) ** 2) / (2 * width**2))
            * np.exp(-((columns - column) ** 2) / (2 * width**2))
        )
    return grains * _step(layer.distance + 3, 0.8)


def _debris(nearest: Array, unit: float, generator: np.random.Generator) -> Array:
    """What floats about and nobody labels, `(H, W)`: faint smudges, a dark or bright speck, a ring like a tiny cell."""
    size = len(nearest)
    grid = (np.arange(size) + 0.5) * unit
    debris = np.zeros((size, size))
    kinds = ["smudge"] * int(generator.integers(0, 5))
    kinds += [kind for kind, share in (("dark", 0.22), ("bright", 0.25), ("ring", 0.15)) if generator.random() < share]
    for kind in kinds:
        row, column = generator.uniform(2, SIDE - 2, 2)
        angle, aspect = generator.uniform(0, np.pi), generator.uniform(1, 1.8)
        strength, width = generator.uniform(0.5, 1), generator.uniform(0.5, 1)
        if nearest[int(row / unit), int(column / unit)] < 4:
            continue
        down, right = grid[:, None] - row, grid[None, :] - column
        rho = np.hypot(*turned(down, right, angle, aspect))
        if kind == "ring":
            debris += -1.6 * strength * _bump(rho, 4.5 * width, 1.1) + strength * _bump(rho, 4.5 * width + 2.6, 1.2)
        else:
            brightness, spread = {"smudge": (-0.7, 2.8), "dark": (-4.5, 3.4), "bright": (3.0, 1.4)}[kind]
            debris += brightness * strength * _bump(rho, 0, spread * width)
    return debris


def _slope(size: int, generator: np.random.Generator) -> Array:
    """Uneven illumination `(size, size)`, linear across the image."""
    line = np.linspace(-1, 1, size)
    down, right = generator.normal(0, 0.1, 2)
    slope: Array = down * line[:, None] + right * line[None, :]
    return slope


def _bump(distance: Array, centre: float, width: float) -> Array:
    bump: Array = np.exp(-0.5 * ((distance - centre) / width) ** 2)
    return bump


def _fall(distance: Array, length: float) -> Array:
    """Rises to 1 just outside of the outline, and falls off with `length`."""
    fall: Array = (1 - _step(distance - 0.8, 0.5)) * np.exp(-((np.maximum(distance, 0) / length) ** 1.4))
    return fall


def _step(distance: Array, width: float) -> Array:
    """1 inside, 0 outside, smooth over `width` units."""
    step: Array = 0.5 - 0.5 * np.tanh(distance / width)
    return step


def _smooth_noise(size: int, scale: float, generator: np.random.Generator) -> Array:
    """Correlated noise `(size, size)` of length `scale` pixels, standard deviation about 1."""
    noise = blurred_noise(size, scale, generator)
    smoothed: Array = noise / noise.std()
    return smoothed

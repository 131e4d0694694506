"""Drawn everyday scenes, each with one main object: what the demo's SAM is pretrained on."""

from collections.abc import Callable

import cv2
import numpy as np

from gps_seg.datasets.procedural.surfaces import (
    blur,
    contour_mask,
    dome,
    finish,
    fractal_noise,
    grid,
    mix,
    normals,
    random_direction,
)

Drawing = Callable[[np.random.Generator, int], np.ndarray]


def ellipse(rng: np.random.Generator) -> np.ndarray:
    """An outline around 0 with an extent of about 1, as (N, 2) points."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([np.cos(angles), rng.uniform(0.45, 1) * np.sin(angles)], 1)


def polygon(rng: np.random.Generator) -> np.ndarray:
    """A convex or star-like polygon with 3 to 8 corners."""
    count = int(rng.integers(3, 9))
    angles: np.ndarray = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2 * np.pi / count)
    radii: np.ndarray = rng.uniform(0.75, 1, count)
    if rng.random() < 0.3:
        angles = np.arange(2 * count) * (np.pi / count)
        radii = np.where(np.arange(2 * count) % 2, rng.uniform(0.4, 0.7), 1.0)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]


def box(rng: np.random.Generator) -> np.ndarray:
    """A rectangle, often slanted."""
    width, slant = rng.uniform(0.35, 1), rng.uniform(-0.3, 0.3)
    corners = np.array([[-1, -width], [1, -width], [1, width], [-1, width]])
    corners[:, 0] += slant * corners[:, 1]
    return corners


def blob(rng: np.random.Generator) -> np.ndarray:
    """A smooth outline with random bulges."""
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radii = np.ones_like(angles)
    for order in range(2, 7):
        radii += rng.normal(0, 0.35 / order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    radii = np.clip(radii, 0.25, None) / radii.max()
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]


def stroke(rng: np.random.Generator) -> np.ndarray:
    """A bent bar: points along a curve and back, half a width apart."""
    t = np.linspace(-1, 1, 48)
    curve = np.stack([t, rng.uniform(-0.5, 0.5) * t**2 + rng.uniform(-0.4, 0.4) * t**3], 1)
    tangent = np.gradient(curve, axis=0)
    across = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    half = rng.uniform(0.12, 0.3) * (1 + rng.uniform(-0.5, 0.5) * t)[:, None]
    return np.concatenate([curve + across * half, (curve - across * half)[::-1]])


OUTLINES = (ellipse, polygon, box, blob, blob, stroke)


def place(
    rng: np.random.Generator, outline: np.ndarray, *, radius: float, centre: np.ndarray
) -> np.ndarray:
    """Turn an outline by a random angle, scale it to `radius` pixels and move it to `centre`."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return outline @ turn.T * radius + centre


def draw_shape(rng: np.random.Generator, size: int, radius: float) -> np.ndarray:
    """The mask of one main object somewhere in the middle: one outline, or several joined."""
    centre = size * rng.uniform(0.3, 0.7, 2)
    first = OUTLINES[rng.integers(len(OUTLINES))](rng)
    outline = place(rng, first, radius=radius, centre=centre)
    mask = contour_mask(outline, size)
    if rng.random() < 0.35:  # parts that stick out, as handles, heads and legs do
        for _ in range(rng.integers(1, 4)):
            part = OUTLINES[rng.integers(len(OUTLINES))](rng)
            at = outline[rng.integers(len(outline))]
            scale = radius * rng.uniform(0.3, 0.6)
            mask |= contour_mask(place(rng, part, radius=scale, centre=at), size)
    return mask


def stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Straight or wavy stripes, sharp or soft."""
    x, y = grid(size)
    angle, count = rng.uniform(0, np.pi), rng.uniform(4, 16)
    along = np.cos(angle) * x + np.sin(angle) * y
    along += rng.uniform(0, 0.3) * fractal_noise(rng, size, cells=3, octaves=2)
    return np.clip(0.5 + rng.uniform(0.5, 3) * np.sin(along * count * np.pi), 0, 1)


def checker(rng: np.random.Generator, size: int) -> np.ndarray:
    """A board of two values, turned."""
    x, y = grid(size)
    angle, count = rng.uniform(0, np.pi), rng.uniform(4, 12)
    u = (np.cos(angle) * x + np.sin(angle) * y) * count
    v = (np.cos(angle) * y - np.sin(angle) * x) * count * rng.uniform(0.6, 1)
    return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)


def gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """A plain ramp with a little unevenness."""
    x, y = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y)
    return np.clip(ramp + 0.2 * fractal_noise(rng, size, cells=4), 0, 1)


def clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    """Coarse to fine noise: plaster, stone, grass, cloth."""
    cells, persistence = 2 ** rng.uniform(1, 5), rng.uniform(0.4, 0.9)
    return fractal_noise(rng, size, cells=cells, octaves=5, persistence=persistence)


def spots(rng: np.random.Generator, size: int) -> np.ndarray:
    """Islands of one value in another."""
    noise = fractal_noise(rng, size, cells=2 ** rng.uniform(2.5, 4.5), octaves=2)
    return np.clip(0.5 + rng.uniform(3, 12) * (noise - rng.uniform(0.4, 0.65)), 0, 1)


def grain(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise stretched along one direction: wood, brushed metal."""
    noise = fractal_noise(rng, size, cells=4, octaves=6, persistence=0.8)
    stretched = cv2.resize(noise[: max(2, size // 12)], (size, size))
    return stretched if rng.random() < 0.5 else stretched.T


TEXTURES = (clouds, clouds, gradient, stripes, checker, spots, grain)


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """An RGB colour in [0, 1]: greys, pastels and full colours."""
    hsv = np.array([[[rng.uniform(0, 360), rng.beta(1.2, 1.5), rng.uniform(0.15, 1)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def paint(rng: np.random.Generator, size: int, colour: np.ndarray, spread: float) -> np.ndarray:
    """A textured surface (H, W, 3) of two colours, `spread` apart, of which one is given."""
    share = TEXTURES[rng.integers(len(TEXTURES))](rng, size)
    return mix(colour, colour + spread * (random_colour(rng) - colour), share.astype(np.float32))


def colours_apart(rng: np.random.Generator, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Two colours at least `distance` apart in RGB of [0, 1]."""
    first = second = random_colour(rng)
    while np.linalg.norm(first - second) < distance:
        second = random_colour(rng)
    return first, second


def add_object(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, surface: np.ndarray
) -> np.ndarray:
    """Put a lit object on an image with the shadow that it casts."""
    size = len(mask)
    light = random_direction(rng, rng.uniform(0.4, 0.9))
    if rng.random() < 0.6:
        move = np.array([[1, 0, -light[0] * size / 25], [0, 1, -light[1] * size / 25]], np.float32)
        cast = cv2.warpAffine(mask.astype(np.float32), move, (size, size))
        image = image * (1 - rng.uniform(0.2, 0.6) * blur(cast, size / 60))[..., None]
    if rng.random() < 0.7:  # rounded rather than flat
        height = blur(dome(mask, rng.uniform(0.3, 0.8)), size / 128)
        tilt = normals(height * size * rng.uniform(0.05, 0.2))
        shade = (tilt @ light) / light[2]
        surface = surface * np.clip(0.25 + 0.75 * shade, 0.2, 1.5)[..., None]
    return mix(image, surface, blur(mask.astype(np.float32), 0.6))


def add_litter(
    rng: np.random.Generator, image: np.ndarray, colour: np.ndarray, radius: float
) -> np.ndarray:
    """Scatter objects that are much smaller than the main one: they are background."""
    size = len(image)
    for _ in range(rng.integers(0, 6)):
        outline = OUTLINES[rng.integers(len(OUTLINES))](rng)
        scale, centre = radius * rng.uniform(0.1, 0.3), rng.uniform(0, size, 2)
        mask = contour_mask(place(rng, outline, radius=scale, centre=centre), size)
        tint = colour if rng.random() < 0.3 else random_colour(rng)
        image = add_object(rng, image, mask, paint(rng, size, tint, 0.4))
    return image


def add_occluder(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a thin bar across the scene; what it covers is no longer part of the object.

    Where it would hide much of the object, nothing is laid.
    """
    size = len(mask)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3)
    x, y = grid(size)
    across = np.abs(np.cos(angle) * x + np.sin(angle) * y - offset)
    bar = across < rng.uniform(0.02, 0.06)
    surface = paint(rng, size, random_colour(rng), 0.3)
    if (mask & ~bar).sum() < 0.7 * mask.sum():
        return image, mask
    return mix(image, surface, blur(bar.astype(np.float32), 0.6)), mask & ~bar


def draw_objects(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene with one main object: by far the largest thing on a textured ground.

    Returns the image, (size, size, 3) uint8 RGB, and the mask of what is visible of that object,
    (size, size) bool. Shadows, small litter and the occluder are background.
    """
    radius = size * rng.uniform(0.12, 0.36)
    ground, colour = colours_apart(rng, rng.uniform(0.15, 0.5))
    image = paint(rng, size, ground, rng.uniform(0.1, 0.7))
    image = add_litter(rng, image, colour, radius)
    mask = draw_shape(rng, size, radius)
    image = add_object(rng, image, mask, paint(rng, size, colour, rng.uniform(0.05, 0.6)))
    if rng.random() < 0.2:
        image, mask = add_occluder(rng, image, mask)
    x, y = grid(size)
    light = random_direction(rng, 0)
    image = image * (1 + rng.uniform(0, 0.35) * (light[0] * x + light[1] * y))[..., None]
    image = np.clip(image, 0, 1) ** rng.uniform(0.8, 1.3)  # exposure
    image = finish(rng, image, softness=rng.uniform(0.3, 1), grain=rng.uniform(0, 0.03))
    return image, mask

"""Drawn endoscopy: polyps on folded mucosa under a headlight, for the demo to learn."""

import cv2
import numpy as np

from gps_seg.datasets.procedural.objects import blob, ellipse, place
from gps_seg.datasets.procedural.surfaces import (
    blur,
    contour_mask,
    dome,
    finish,
    fractal_noise,
    grid,
    mix,
    normals,
    smoothstep,
)

LUMEN = np.array([0.16, 0.04, 0.04], np.float32)
VESSEL = np.array([0.55, 0.12, 0.12], np.float32)


def mucosa_colour(rng: np.random.Generator) -> np.ndarray:
    """An RGB colour in [0, 1] between orange, salmon and deep red."""
    red = rng.uniform(0.65, 0.92)
    green = red * rng.uniform(0.38, 0.68)
    return np.array([red, green, green * rng.uniform(0.7, 1.02)], np.float32)


def draw_folds(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A stretch of bowel: its height in pixels, and how deep each place is, 0 near to 1 far.

    Folds are ridges around the lumen, which lies inside the image or beyond its edge.
    """
    x, y = grid(size)
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.5)
    x = x - far * np.cos(angle)
    y = (y - far * np.sin(angle)) * rng.uniform(0.75, 1.25)
    wobble = fractal_noise(rng, size, cells=2, octaves=4) - 0.5
    distance = np.hypot(x, y) * (1 + rng.uniform(0.2, 0.8) * wobble)
    phase = np.log(distance + 0.25) * rng.uniform(5, 11) + rng.uniform(0, 2 * np.pi)
    ridges = (0.5 + 0.5 * np.sin(phase)) ** rng.uniform(2, 6)
    ridges *= fractal_noise(rng, size, cells=2, octaves=2)  # folds do not go all the way round
    height = size * rng.uniform(0.04, 0.16) * ridges
    height += size * rng.uniform(0.1, 0.3) * fractal_noise(rng, size, cells=2, octaves=3)
    height += size * 0.006 * fractal_noise(rng, size, cells=20, octaves=3)
    reach = rng.uniform(0.3, 0.8) if far < 0.8 else rng.uniform(0.2, 0.5)
    return height, 1 - smoothstep(0, reach + 0.4, distance)


def draw_outline(rng: np.random.Generator, size: int) -> np.ndarray:
    """The mask of a polyp: from about 1 % to 30 % of the image, in its inner part."""
    radius = size * np.clip(rng.lognormal(np.log(0.165), 0.45), 0.055, 0.36)
    free = max(0.06, 0.34 - 0.5 * radius / size)
    angle, away = rng.uniform(0, 2 * np.pi), free * np.sqrt(rng.random())
    centre = size * (0.5 + away * np.array([np.cos(angle), np.sin(angle)]))
    outline = blob(rng) if rng.random() < 0.6 else ellipse(rng)
    # Two thirds towards a circle, as lesions are mostly roundish.
    outline = outline * (0.5 + 0.5 / np.linalg.norm(outline, axis=1, keepdims=True))
    return contour_mask(place(rng, outline, radius=radius, centre=centre), size)


def draw_vessels(rng: np.random.Generator, size: int) -> np.ndarray:
    """How much a vessel shows at each place, in [0, 1]: branching lines that grow thin."""
    canvas = np.zeros((size, size), np.float32)
    tips = [
        (size * rng.random(2), rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 2.6) * size / 256)
        for _ in range(rng.integers(1, 4))
    ]
    while tips:
        point, heading, width = tips.pop()
        steps = int(rng.integers(6, 14))
        headings = heading + np.cumsum(rng.normal(0, 0.22, steps))
        moves = np.stack([np.cos(headings), np.sin(headings)], 1) * size * 0.03
        path = np.concatenate([[point], point + np.cumsum(moves, 0)])
        cv2.polylines(
            canvas,
            [np.rint(path * 16).astype(np.int32)],
            isClosed=False,
            color=min(1.0, 0.4 + width / 4),
            thickness=max(1, round(width)),
            lineType=cv2.LINE_AA,
            shift=4,
        )
        if width > 0.9 * size / 256:
            tips += [
                (path[-1], headings[-1] + side * rng.uniform(0.3, 0.8), 0.7 * width)
                for side in (-1, 1)
            ]
    return blur(canvas, size / 320)


def draw_view(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The endoscope's window: what is seen (H, W) in [0, 1], and the light that falls there."""
    x, y = grid(size)
    radius = np.hypot(x, y)
    light = 1 - rng.uniform(0.15, 0.5) * radius**2 / 2
    if rng.random() < 0.25:
        return np.ones_like(x), light
    side = rng.uniform(0.88, 1)  # a circle that the sensor cuts, so the corners are black
    edge = np.maximum(np.maximum(np.abs(x), np.abs(y)) - side, radius - rng.uniform(1.05, 1.25))
    return 1 - smoothstep(-0.01, 0.01, edge), light


def add_inset(rng: np.random.Generator, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The position display of some endoscopes in the lower left corner. Returns also its place."""
    size = len(image)
    top, right = size - int(size * rng.uniform(0.2, 0.3)), int(size * rng.uniform(0.2, 0.3))
    covered = np.zeros((size, size), bool)
    covered[top:, :right] = True
    image = image.copy()
    image[covered] = np.array([0.03, 0.22, 0.2], np.float32) if rng.random() < 0.5 else 0.02
    middle = np.array([right / 2, (top + size) / 2])
    line = middle + np.cumsum(rng.normal(0, size * 0.02, (12, 2)), 0)
    line = np.clip(line, [4, top + 4], [right - 4, size - 4])
    cv2.polylines(image, [line.astype(np.int32)], False, (0.3, 0.8, 0.5), 2, cv2.LINE_AA)
    return image, covered


def add_residue(rng: np.random.Generator, colours: np.ndarray, size: int) -> np.ndarray:
    """Yellowish smears and bubbles on the mucosa, which are not polyps."""
    smear = fractal_noise(rng, size, cells=rng.uniform(3, 8), octaves=4)
    share = rng.uniform(0.2, 0.6) * smoothstep(0.66, 0.8, smear)
    colours = mix(colours, np.array([0.8, 0.65, 0.3], np.float32), share)
    bubbles = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(0, 7)):
        centre, radius = rng.integers(0, size, 2).tolist(), int(size * rng.uniform(0.008, 0.03))
        cv2.circle(bubbles, centre, radius, rng.uniform(0.2, 0.5), 1, cv2.LINE_AA)
    return mix(colours, np.ones(3, np.float32), bubbles)


def paint_polyp(
    rng: np.random.Generator, colours: np.ndarray, base: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Give the polyp its own tint, near the mucosa's, and its own fine pattern."""
    size = len(share)
    redder = rng.uniform(0.02, 0.2)
    tint = base * np.array([1 + redder / 2, 1 - redder, 1 - redder / 2]) + rng.normal(0, 0.02)
    pits = fractal_noise(rng, size, cells=rng.uniform(24, 40), octaves=2) - 0.5
    surface = tint + rng.uniform(0.1, 0.3) * pits[..., None]
    return mix(colours, surface.astype(np.float32), share * rng.uniform(0.6, 0.95))


def add_bump(
    rng: np.random.Generator, height: np.ndarray, mask: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Raise the surface where the polyp is, from nearly flat to half a ball, and even it out."""
    radius = float(np.sqrt(mask.sum() / np.pi))
    profile = smoothstep(-0.15, 1, dome(mask, rng.uniform(0.5, 1)))
    bump = blur(profile * mask, radius * rng.uniform(0.08, 0.2))
    even = blur(height, radius * 0.7)
    lumps = fractal_noise(rng, len(mask), cells=rng.uniform(8, 16), octaves=2)
    bump *= 1 + rng.uniform(0, 0.25) * lumps
    return height + 0.85 * share * (even - height) + radius * rng.uniform(0.25, 1) * bump


def shade(
    rng: np.random.Generator, colours: np.ndarray, height: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """Light the surface from beside the camera: slopes and depths are darker, wet spots glare."""
    size = len(height)
    facing = normals(height)
    offset = rng.uniform(-0.35, 0.35, 2)
    light = np.array([*offset, 1], np.float32) / np.sqrt(1 + offset @ offset)
    image = colours * np.clip(facing @ light, 0, 1).astype(np.float32)[..., None] ** 1.5
    image = mix(image, LUMEN, depth)
    ripple = normals(height + size * 0.02 * fractal_noise(rng, size, cells=12, octaves=3))
    glare = np.clip(ripple @ light, 0, 1) ** rng.uniform(150, 500)
    patch = fractal_noise(rng, size, cells=10, octaves=3)
    glare *= smoothstep(0.55, 0.7, patch) * rng.uniform(0.3, 1) * (1 - depth)
    return mix(
        image,
        np.array([1, 0.97, 0.95], np.float32),
        smoothstep(0.25, 0.6, glare.astype(np.float32)),
    )


def draw_polyp(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an endoscopic view with one polyp, seldom two.

    Returns the image, (size, size, 3) uint8 RGB, and the mask of the visible polyps, (size, size)
    bool, never empty. A polyp is a smooth bump of nearly the mucosa's colour; folds, vessels,
    residue, glare and the dark lumen are background.
    """
    height, depth = draw_folds(rng, size)
    base = mucosa_colour(rng)
    patches = fractal_noise(rng, size, cells=3, octaves=4) - 0.5
    colours = base * (1 + rng.uniform(0.1, 0.35) * patches[..., None])
    colours = mix(colours, VESSEL, rng.uniform(0.1, 0.6) * draw_vessels(rng, size))
    if rng.random() < 0.5:
        colours = add_residue(rng, colours, size)

    mask = draw_outline(rng, size)
    if rng.random() < 0.12:
        mask |= draw_outline(rng, size)
    share = blur(mask.astype(np.float32), size * rng.uniform(0.005, 0.02))
    colours = paint_polyp(rng, colours, base, share)
    height = add_bump(rng, height, mask, share)
    image = shade(rng, colours, height, depth * (1 - 0.85 * share))

    seen, light = draw_view(rng, size)
    image = np.clip(image * light[..., None], 0, 1) ** rng.uniform(0.85, 1.25) * seen[..., None]
    visible = mask & (seen > 0.5)
    if rng.random() < 0.25:
        covered_image, covered = add_inset(rng, image)
        if (visible & ~covered).sum() > 0.8 * visible.sum():
            image, visible = covered_image, visible & ~covered
    softness, noise = rng.uniform(0.4, 1.4), rng.uniform(0.003, 0.02)
    return finish(rng, image.astype(np.float32), softness=softness, grain=noise), visible

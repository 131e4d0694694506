"""What drawn images are made of: noise, light on a height field, soft edges. NumPy and OpenCV.

All images are square, of side `size`; maps are (size, size) float32.
"""

import cv2
import numpy as np


def lattice_noise(rng: np.random.Generator, size: int, cells: float) -> np.ndarray:
    """Smooth noise in about [0, 1] whose bumps are `size / cells` pixels wide."""
    count = int(np.ceil(cells)) + 3
    values = rng.random((count, count), dtype=np.float32)
    side = round(size * count / cells)
    large = cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC)
    top, left = rng.integers(0, side - size + 1, 2)
    return large[top : top + size, left : left + size]


def fractal_noise(
    rng: np.random.Generator,
    size: int,
    *,
    cells: float,
    octaves: int = 4,
    persistence: float = 0.5,
) -> np.ndarray:
    """A sum of noises, each twice as fine and `persistence` times as strong; spans [0, 1]."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        fineness = cells * 2**octave
        if fineness > size / 2:  # finer than the pixels
            break
        total += persistence**octave * lattice_noise(rng, size, fineness)
    return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The x and y of each pixel's centre, from -1 to 1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(line, line)
    return x, y


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth rise between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by `sigma` pixels; a wide one is done at a quarter of the resolution."""
    if sigma > 8:
        height, width = values.shape[:2]
        quarter = cv2.resize(values, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        return cv2.resize(blur(quarter, sigma / 4), (width, height))
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) or (3,) between `first`, where share (H, W) is 0, and `second`, at 1."""
    return first + (second - first) * share[..., None]


def contour_mask(points: np.ndarray, size: int) -> np.ndarray:
    """Fill closed outlines. points: (N, 2) in pixels, or a list of those. Returns bool."""
    mask = np.zeros((size, size), np.uint8)
    # Four more bits of position, so that small outlines do not become crooked.
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def dome(mask: np.ndarray, roundness: float) -> np.ndarray:
    """A smooth height over a mask: 0 at its edge, 1 at its middle.

    roundness: about 0.3 (flat with a steep rim) to 1 (a cone).
    """
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    return (distance / max(float(distance.max()), 1e-6)) ** roundness


def normals(height: np.ndarray) -> np.ndarray:
    """Unit normals (H, W, 3) of a height field in pixels; z points to the viewer."""
    height = height.astype(np.float32)
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    vectors = np.dstack([-dx, -dy, np.ones_like(height)])
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def random_direction(rng: np.random.Generator, steepness: float) -> np.ndarray:
    """A unit vector to a light: `steepness` is its height over the image plane, in [0, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    flat = np.sqrt(1 - steepness**2)
    return np.array([flat * np.cos(angle), flat * np.sin(angle), steepness], np.float32)


def finish(
    rng: np.random.Generator, image: np.ndarray, *, softness: float, grain: float
) -> np.ndarray:
    """Camera: blur by `softness` pixels and add noise of deviation `grain`. [0, 1] to uint8."""
    image = blur(image, softness) + grain * rng.standard_normal(image.shape, dtype=np.float32)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)

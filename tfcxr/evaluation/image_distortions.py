"""How images are made worse: blur, noise, salt and pepper, and black blocks of growing strength.

A distortion takes uint8 [size, size], its strength and random numbers, and gives uint8 [size, size].
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

SIGMA_SIZE = 64  # pixels that a blur's sigma is given for, so that images of all sizes blur alike

Distortion = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _blurred(image: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma * len(image) / SIGMA_SIZE) if sigma else image


def _noisy(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return np.clip(image + random.normal(0, deviation, image.shape), 0, 255).round().astype(np.uint8)


def _salted(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    spoiled = random.random(image.shape)
    return np.where(spoiled < share / 2, 0, np.where(spoiled > 1 - share / 2, 255, image)).astype(np.uint8)


def _blocked(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    side = round(np.sqrt(share) * len(image))
    top, left = random.integers(0, len(image) - side + 1, 2)
    image = image.copy()
    image[top : top + side, left : left + side] = 0
    return image


def _blurred_by_kernel(image: np.ndarray, pixels: float, random: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (int(pixels), int(pixels)), 0)


def _noisy_and_brighter(image: np.ndarray, mean: float, random: np.random.Generator) -> np.ndarray:
    return np.clip(image + 255 * random.normal(mean, 0.1, image.shape), 0, 255).round().astype(np.uint8)


# name -> how, and strengths from none to strong
DISTORTIONS: dict[str, tuple[Distortion, Sequence[float]]] = {
    "blur, sigma in px at 64 px": (_blurred, (0, 0.5, 1, 1.5, 2, 3)),
    "noise, grey levels": (_noisy, (0, 3, 6, 12, 25, 50)),
    "salt and pepper, share": (_salted, (0, 0.01, 0.03, 0.1, 0.3, 0.9)),
    "black block, share": (_blocked, (0, 0.02, 0.05, 0.1, 0.2, 0.4)),
}
CHETTY2023: dict[str, tuple[Distortion, Sequence[float]]] = {
    "blur, kernel in px": (_blurred_by_kernel, (1, 9, 17, 25, 33, 41, 49)),
    "noise of deviation .1, mean of [0, 1]": (_noisy_and_brighter, (0, 0.2, 0.4, 0.6, 0.8, 1)),
    "salt and pepper, share": (_salted, (0, 0.1, 0.3, 0.5, 0.7, 0.9)),
    "black block, share": (_blocked, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
}

# Pearson's correlation with the strength that Chetty 2023 prints, of MedFID and of CelebA's Inception
CHETTY2023_PEARSON = dict(
    zip(CHETTY2023, ((0.816, 0.837), (0.898, 0.940), (0.998, 0.826), (0.438, -0.312)), strict=True)
)


def distorted(images: np.ndarray, distort: Distortion, strength: float, seed: int) -> np.ndarray:
    """All of uint8 [images, size, size] as uint8 [images, size, size, 1]."""
    random = np.random.default_rng(seed)
    return np.stack([distort(image, strength, random) for image in images])[..., None]

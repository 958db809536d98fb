"""The rays of a radiograph -> its grey picture.

The picture follows the physics of a radiograph: each ray is weakened by what it crosses (Beer-Lambert law), part of
it arrives scattered, the detector counts quanta, and a response curve turns the logarithm of the count into grey.
"""

import math

import cv2
import numpy as np

from tfrecords_builder.phantom.canvas import FIELD_MM
from tfrecords_builder.phantom.organs import Layers
from tfrecords_builder.phantom.thorax import Thorax

SOFT_TISSUE, LUNG, BONE = 0.0190, 0.0050, 0.0400  # attenuation per mm; BONE is what bone adds to soft tissue


def detect(layers: Layers, thorax: Thorax, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rays to grey: attenuation, scatter, quanta, response curve, collimation and marker letters."""
    size = len(noise)
    exposure, scattered, contrast, bright = rng.uniform([0.7, 0.16, 0.92, -0.10], [1.6, 0.30, 1.10, 0.10])
    attenuation = SOFT_TISSUE * layers.soft
    attenuation += (SOFT_TISSUE - LUNG) * layers.vessel
    attenuation += LUNG * layers.lung
    attenuation += BONE * layers.bone
    quanta = cv2.resize(cv2.exp(-attenuation), (size, size), interpolation=cv2.INTER_AREA)

    depth = thorax.anatomy.depth
    clear = math.exp(-(SOFT_TISSUE * 0.30 * depth + LUNG * 0.68 * depth))
    grid = max(size // 16, 16)
    coarse = cv2.resize(quanta, (grid, grid), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(np.minimum(coarse, 2 * clear), (0, 0), grid * 0.07)
    quanta += scattered * 0.3 * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    # The dose is per area of the detector, so smaller pixels are noisier, as in a real one.
    counts = 9000.0 * exposure * (128.0 / size) ** 2 / clear
    quanta += noise * np.sqrt(quanta / np.float32(counts))
    density = -np.log(np.maximum(quanta, 1e-6)) + math.log(clear)  # 0 in clear lung

    span = 1.0 * (SOFT_TISSUE - LUNG) * 0.72 * depth / contrast
    # A toe that keeps air black, a nearly straight middle, and a shoulder that keeps bone behind the heart visible.
    grey = 1.0 / (1.0 + cv2.exp((density / span - 0.36 + bright) * -3.4))
    image = (255.0 * np.clip((grey - 0.045) * 1.05, 0.0, 1.0)).astype(np.uint8)
    return _frame(image, thorax.pose.is_ap, rng)


def _frame(image: np.ndarray, is_ap: bool, rng: np.random.Generator) -> np.ndarray:
    """Blackens what the collimator covers and prints the marker letters."""
    size = len(image)
    scale = size / FIELD_MM
    borders = np.where(rng.random(4) < 0.3, rng.uniform(2.0, 16.0, 4), 0.0) * scale
    tilt = rng.normal(0.0, 0.008) * size
    left, top, right, bottom = borders
    if borders.any():
        right, bottom = size - right, size - bottom
        window = np.array([[left, top - tilt], [right + tilt, top], [right, bottom + tilt], [left - tilt, bottom]])
        mask = np.zeros_like(image)
        cv2.fillPoly(mask, [np.round((window - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        image = cv2.multiply(image, mask, scale=1 / 255)
    letter = "L" if rng.random() < 0.6 else "R"
    x = (rng.uniform(0.88, 0.93) if letter == "L" else rng.uniform(0.04, 0.09)) * size
    y = rng.uniform(0.09, 0.16) * size
    _print(image, letter, x, y, 0.75 * size / 256)
    if is_ap:
        _print(image, "AP", x - 0.02 * size, y + 0.06 * size, 0.5 * size / 256)
    return image


def _print(image: np.ndarray, text: str, x: float, y: float, font_scale: float) -> None:
    thickness = max(1, round(2.2 * font_scale))
    cv2.putText(image, text, (round(x), round(y)), cv2.FONT_HERSHEY_SIMPLEX, font_scale, 245, thickness, cv2.LINE_AA)

"""The embedded data set: frontal chest radiographs drawn from a parametric thorax; no patient is in it."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np

from tfcxr.registry import nearest_name
from tfrecords_builder.datasets.reader import RawExample, Reader
from tfrecords_builder.images.radiograph import Radiograph
from tfrecords_builder.phantom import findings, organs
from tfrecords_builder.phantom.canvas import Canvas
from tfrecords_builder.phantom.detector import detect
from tfrecords_builder.phantom.findings import FINDINGS, Lesion
from tfrecords_builder.phantom.thorax import Anatomy, Pose, Thorax, draw_anatomy, draw_pose

MAX_IMAGES_PER_PATIENT = 4
PERSISTENCE = 0.7  # chance that a finding is not drawn anew from one image of a patient to the next
_PATIENT, _COUNT, _COURSE, _POSE, _DETECTOR, _NOISE, _LESION = range(1, 8)  # streams of random numbers, see _rng


@dataclasses.dataclass(frozen=True)
class Scene:
    """The ground truth of one image: who, in which pose, with which lesions."""

    anatomy: Anatomy
    pose: Pose
    lesions: tuple[Lesion, ...]


class Phantom(Reader):
    """Frontal radiographs of computed patients with known findings.

    Image and label depend on the seed, the patient's number and the image's number alone, so neither the order of
    reading nor the number of images nor the image size changes who is drawn. An image is drawn for the label that its
    example carries: `dataclasses.replace(example, label=...)` gives the same patient and pose with other findings.

    Args:
      raw_dir: unused; a phantom has no raw files.
      images: how many.
      patients: how many share them evenly; None gives each patient 1 to 4 images.
      seed: 0 to 2**32 - 1.
      image_size: height and width in pixels, at least 16.
      prevalence: chance of each finding in an image, as a number, a mapping from finding to number (those not named
        do not occur), or either as text: ".25" or "Effusion=.5,Mass=.1". "No Finding" is what remains.
      severity: 1 for findings that a person sees at 128 px, towards 0 for subtle ones, up to 1.5 for gross ones.

    Raises:
      ValueError: a value outside these ranges, or an unknown finding.
    """

    name = "phantom"
    homepage = "https://www.apache.org/licenses/LICENSE-2.0 (own work; made by tfrecords_builder, nothing to download)"
    citation = "tfcxr phantom: frontal chest radiographs computed from a parametric thorax. Not patients."
    licence = "Apache-2.0 (own work)"
    notice = (
        "PHANTOM, NOT PATIENTS: these images are computed from a parametric thorax. "
        "They test software; they show nothing about disease, people or clinical performance."
    )
    label_names = ("No Finding", *FINDINGS)

    def __init__(
        self,
        raw_dir: str = "",
        images: int = 2000,
        patients: int | None = None,
        seed: int = 0,
        image_size: int = 128,
        prevalence: float | str | Mapping[str, float] = 0.25,
        severity: float = 1.0,
    ) -> None:
        super().__init__(raw_dir)
        self.images = _whole_number("images", images, 1, 10**8)
        self.patients = None if patients is None else _whole_number("patients", patients, 1, self.images)
        self.seed = _whole_number("seed", seed, 0, 2**32 - 1)
        self.image_size = _whole_number("image_size", image_size, 16, 4096)
        self.prevalence = _parse_prevalence(prevalence)
        self.severity = _number("severity", severity, 0.0, 1.5)

    def examples(self) -> Iterator[RawExample]:
        """Every image, patient by patient."""
        patient = made = 0
        while made < self.images:
            if self.patients is None:
                count = 1 + int(self._rng(patient, _COUNT).integers(MAX_IMAGES_PER_PATIENT))
            else:
                count = self.images // self.patients + (patient < self.images % self.patients)
            anatomy = self._anatomy(patient)
            for image, label in enumerate(self._course(patient, min(count, self.images - made))):
                yield RawExample(
                    key=f"{self.name}-{patient:06d}-{image}",
                    patient_id=f"{self.name}-{patient:06d}",
                    label=label,
                    view="AP" if self._pose(patient, image, anatomy).is_ap else "PA",
                    age=anatomy.age_years,
                    sex="F" if anatomy.is_female else "M",
                )
                made += 1
            patient += 1

    def scene(self, example: RawExample) -> Scene:
        """The ground truth behind an image: anatomy, pose and the places and sizes of its lesions.

        Raises:
          ValueError: an example of another data set.
        """
        patient, image = _numbers(example.key)
        anatomy = self._anatomy(patient)
        pose = self._pose(patient, image, anatomy)
        lesions = []
        for number, finding in enumerate(FINDINGS):
            if example.label[1 + number] == 1.0:
                shared = self._rng(patient, _LESION, 1 + number)
                changed = self._rng(patient, _LESION, 1 + number, 1 + image)
                lesions += findings.place(finding, shared, changed, self.severity)
        for lesion in lesions:
            if lesion.finding == "Cardiomegaly":
                ratio = pose.cardiothoracic_ratio + (lesion.size - pose.cardiothoracic_ratio) * self.severity
                pose = dataclasses.replace(pose, cardiothoracic_ratio=min(ratio, 0.72))
        return Scene(anatomy, pose, tuple(lesions))

    def read_image(self, example: RawExample) -> Radiograph:
        """Draws the image of one example, uint8 [image_size, image_size]."""
        patient, image = _numbers(example.key)
        scene = self.scene(example)
        pose = scene.pose
        size = self.image_size
        canvas = Canvas(2 * size, pose.rotation, pose.magnification, (pose.shift_x, pose.shift_y))
        thorax = Thorax(scene.anatomy, pose)
        layers = organs.cross(thorax, canvas)
        findings.draw(list(scene.lesions), thorax, canvas, layers)
        noise = self._rng(patient, _NOISE, 1 + image).standard_normal((size, size), dtype=np.float32)
        return Radiograph(detect(layers, thorax, noise, self._rng(patient, _DETECTOR, 1 + image)))

    def _anatomy(self, patient: int) -> Anatomy:
        return draw_anatomy(self._rng(patient, _PATIENT))

    def _pose(self, patient: int, image: int, anatomy: Anatomy) -> Pose:
        return draw_pose(self._rng(patient, _POSE, 1 + image), anatomy)

    def _course(self, patient: int, count: int) -> list[tuple[float, ...]]:
        """The labels of a patient's images, in time; each image has the asked prevalence."""
        rng = self._rng(patient, _COURSE)
        chances = np.array([self.prevalence[finding] for finding in FINDINGS])
        present = rng.random(len(FINDINGS)) < chances
        labels = []
        for _ in range(count):
            labels.append((float(not present.any()), *(float(value) for value in present)))
            stays, anew = rng.random((2, len(FINDINGS)))
            present = np.where(stays < PERSISTENCE, present, anew < chances)
        return labels

    def _rng(self, *path: int) -> np.random.Generator:
        # SeedSequence pads with zeros, so that [1] and [1, 0] are one stream: every path ends in a number from 1.
        return np.random.default_rng([self.seed, *path])


def _numbers(key: str) -> tuple[int, int]:
    """The patient's and the image's number."""
    match = re.fullmatch(rf"{Phantom.name}-(\d+)-(\d+)", key)
    if not match:
        raise ValueError(f"expected the key of a phantom image such as 'phantom-000012-0', got {key!r}")
    return int(match[1]), int(match[2])


def _parse_prevalence(prevalence: float | str | Mapping[str, float]) -> dict[str, float]:
    if isinstance(prevalence, str) and "=" in prevalence:
        pairs = [part.partition("=") for part in prevalence.split(",") if part.strip()]
        prevalence = {name.strip(): text for name, _, text in pairs}
    if not isinstance(prevalence, Mapping):
        prevalence = dict.fromkeys(FINDINGS, prevalence)
    for finding in prevalence:
        if finding == "No Finding":
            raise ValueError("prevalence of 'No Finding' cannot be set: it is what the findings leave; remove it")
        if finding not in FINDINGS:
            raise ValueError(f"the phantom has no finding {finding!r}; {nearest_name(str(finding), FINDINGS)}")
    return {finding: _number("prevalence", prevalence.get(finding, 0.0), 0.0, 1.0) for finding in FINDINGS}


def _number(name: str, value: float | str, lowest: float, highest: float) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not lowest <= number <= highest:
        raise ValueError(f"{name} of a phantom expects a number from {lowest:g} to {highest:g}, got {value!r}")
    return number


def _whole_number(name: str, value: int, lowest: int, highest: int) -> int:
    number = _number(name, value, lowest, highest)
    if number != int(number):
        raise ValueError(f"{name} of a phantom expects a whole number, got {value!r}")
    return int(number)

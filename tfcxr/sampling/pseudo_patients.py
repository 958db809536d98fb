"""Pseudo-patients: the images of a cohort in groups of 3 to 6 that share what they show (Segal et al. 2021)."""

import dataclasses

import numpy as np

from tfcxr.sampling.cohort_labels import CohortLabels

FEWEST, MOST = 3, 6  # images per pseudo-patient


@dataclasses.dataclass(frozen=True)
class PseudoPatient:
    """Some images of one optimised latent.

    Attributes:
      number: in the cohort, from 0.
      row: of `CohortLabels.rows`, the labels that all its images show.
      images: how many.
    """

    number: int
    row: int
    images: int


def plan_patients(labels: CohortLabels, seed: int) -> list[PseudoPatient]:
    """Divides a cohort's images into pseudo-patients, in a random order.

    The images of each combination of labels are as many as in `labels`. Fewer than three of one combination are a
    patient of their own.
    """
    random = np.random.default_rng([seed, FEWEST, MOST])
    counts = np.bincount(labels.order, minlength=len(labels.rows))
    groups = [(row, size) for row, count in enumerate(counts) for size in _sizes(int(count), random)]
    return [PseudoPatient(number, *groups[group]) for number, group in enumerate(random.permutation(len(groups)))]


def divide_patients(patients: list[PseudoPatient], shard_images: int) -> list[list[PseudoPatient]]:
    """The patients of each shard in their order: at most `shard_images` images, at least one patient."""
    shards: list[list[PseudoPatient]] = []
    room = 0
    for patient in patients:
        if patient.images > room or not shards:
            shards.append([])
            room = shard_images
        shards[-1].append(patient)
        room -= patient.images
    return shards


def first_of_each_row(patients: list[PseudoPatient], count: int) -> set[int]:
    """Numbers of the first patients with each combination of labels."""
    numbers: dict[int, list[int]] = {}
    for patient in patients:
        numbers.setdefault(patient.row, []).append(patient.number)
    return {number for of_row in numbers.values() for number in of_row[:count]}


def _sizes(images: int, random: np.random.Generator) -> list[int]:
    """Numbers from `FEWEST` to `MOST` that sum to `images`, where that is possible."""
    sizes = []
    while images > MOST:
        # what is left must suffice for another patient
        sizes.append(int(random.integers(FEWEST, min(MOST, images - FEWEST) + 1)))
        images -= sizes[-1]
    return [*sizes, images] if images else sizes

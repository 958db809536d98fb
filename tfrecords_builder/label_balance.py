"""At most so many images of each label, chosen at random before patients are divided among the splits."""

import hashlib
import heapq

from absl import logging

from tfrecords_builder.datasets.reader import Reader, Reject
from tfrecords_builder.listing import Listing

SURPLUS = "excluded_beyond_max_images_per_label"


def shuffle_key(seed: int, key: str) -> bytes:
    """Orders images at random, the same for a key whatever others there are."""
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()


def check_exclusive(reader: Reader) -> None:
    """Raises ValueError for labels that do not exclude each other, where an image would count for several."""
    if not reader.is_single_label:
        raise ValueError(
            f"--max_images_per_label needs labels that exclude each other, but an image of {reader.name} may have "
            f"several of {', '.join(reader.label_names)}; leave it out"
        )


def keep_at_most(reader: Reader, listing: Listing, images_per_label: int, seed: int) -> Listing:
    """Draws `images_per_label` of each label, or all where there are fewer; the others become rejects.

    A hash of the seed and an image's name decides, so an image that is added later takes the place of at most one. Only
    a part of a patient's images may be drawn; those that are stay in one split, as always.
    """
    left_out: dict[int, Reject] = {}
    counts: list[str] = []
    for column, name in enumerate(reader.label_names):
        positions = [position for position, example in enumerate(listing.examples) if example.label[column] == 1]
        rank = {position: shuffle_key(seed, listing.examples[position].key) for position in positions}
        drawn = set(heapq.nsmallest(images_per_label, positions, key=rank.__getitem__))
        detail = f"{images_per_label} other images of {name} were drawn"
        surplus = [position for position in positions if position not in drawn]
        left_out |= {position: Reject(listing.examples[position].key, SURPLUS, detail) for position in surplus}
        if positions:
            counts.append(f"{name} {len(drawn)} of {len(positions)}")
    logging.info("at most %d images per label: %s", images_per_label, ", ".join(counts))
    return listing.without(left_out)

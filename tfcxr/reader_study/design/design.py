"""Draws a reader study from candidates: which images stand in which item, on which side, and who sees what when.

All readers see the same items, so readers and cases are crossed. Everything is drawn from one seed but for the tokens
in the readers' links, which are secret.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.reader_study.design.balance import items_to_repeat, reader_orders
from tfcxr.reader_study.design.candidates import Candidate
from tfcxr.reader_study.design.image_choice import ItemSides, choose_images
from tfcxr.reader_study.design_file import Design, ImageOrigin, Item, Kind, Reader, token_sha256

GRID_IMAGES = 6
KINDS: tuple[Kind, ...] = ("grid", "pair", "single")
KEY_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class DesignSettings:
    """What is drawn.

    Attributes:
      items: kind -> items of each block; {"grid": 6, "pair": 20, "single": 0}.
      training: examples of each kind that is asked for, with images of their own.
      repeats: kind -> items that each reader sees twice.
      blocks: findings; () for one block of any images.
      groups: of readers, name and count; the name may be "".
      exposure_seconds: of single images; None for no limit.
      is_staircase: whether the exposure of single images follows the answers.
      seed: of all that is drawn.
    """

    items: Mapping[str, int]
    training: int = 0
    repeats: Mapping[str, int] = dataclasses.field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    groups: tuple[tuple[str, int], ...] = (("", 8),)
    exposure_seconds: float | None = None
    is_staircase: bool = False
    seed: int = 0

    @property
    def readers(self) -> int:
        """How many there are."""
        return sum(count for _, count in self.groups)


@dataclasses.dataclass(frozen=True)
class DrawnStudy:
    """A study without its pictures and texts.

    Attributes:
      items: key -> item.
      orders: key of a reader -> keys of the items in order, training examples first.
      groups: key of a reader -> group.
      images: key -> candidate.
      is_synthetic: key of an image -> whether it is.
      left_out: candidates whose pixels are those of an earlier one.
    """

    items: dict[str, Item]
    orders: dict[str, tuple[str, ...]]
    groups: dict[str, str]
    images: dict[str, Candidate]
    is_synthetic: dict[str, bool]
    left_out: int


def draw_study(settings: DesignSettings, real: Sequence[Candidate], synthetic: Sequence[Candidate]) -> DrawnStudy:
    """Draws images, items and orders.

    Each image of a grid is real with probability .5. A pair has one of each, and as many pairs show the real one left
    as right. As many single images are real as synthetic. No image is drawn twice; see `choose_images` for patients.

    Raises:
      ValueError: too few images, or more repeats than can be far from their first showing.
    """
    images_random, orders_random, names_random = np.random.default_rng(settings.seed).spawn(3)
    sides = _item_sides(settings, images_random)
    chosen, left_out = choose_images(sides, real, synthetic, images_random)
    names = _random_names(sum(map(len, chosen)), names_random)
    items, images, is_synthetic = _named_items(settings, sides, chosen, names)
    study_items = {key: item for key, item in items.items() if not item.is_training}
    groups: dict[str, dict[str, list[str]]] = {}
    for key, item in study_items.items():
        groups.setdefault(item.block, {}).setdefault(item.kind, []).append(key)
    orders = reader_orders(groups, settings.readers, orders_random)
    kinds: dict[str, str] = {key: item.kind for key, item in study_items.items()}
    again = [items_to_repeat(order, kinds, settings.repeats, orders_random) for order in orders]
    repeats = _repeated_items(study_items, sorted({key for keys in again for key in keys}), orders_random)
    items |= {f"{key} again": item for key, item in repeats.items()}
    training = [key for key, item in items.items() if item.is_training]
    whole = [(*training, *order, *(f"{key} again" for key in keys)) for order, keys in zip(orders, again, strict=True)]
    keys = _item_keys(items, names_random)
    readers = [f"R{number:02d}" for number in range(1, settings.readers + 1)]
    return DrawnStudy(
        items={
            keys[key]: dataclasses.replace(item, repeat_of=keys.get(item.repeat_of, ""))
            for key, item in sorted(items.items(), key=lambda entry: keys[entry[0]])
        },
        orders={reader: tuple(keys[key] for key in order) for reader, order in zip(readers, whole, strict=True)},
        groups=dict(zip(readers, [name for name, count in settings.groups for _ in range(count)], strict=True)),
        images=images,
        is_synthetic=is_synthetic,
        left_out=left_out,
    )


def study_design(
    drawn: DrawnStudy,
    settings: DesignSettings,
    tokens: Mapping[str, str],
    image_sha256: Mapping[str, str],
    *,
    title: str,
    consent: str,
    diagnoses: tuple[str, ...],
    display_size: int,
    plan: dict[str, Any],
) -> tuple[Design, dict[str, ImageOrigin]]:
    """The design and the key of a drawn study.

    Args:
      drawn: by `draw_study`.
      settings: those it was drawn by.
      tokens: key of a reader -> token of the reader's link.
      image_sha256: key of an image -> checksum of its picture.
      title: see `Design`, as all that follow.
    """
    design = Design(
        title=title,
        consent=consent,
        diagnoses=diagnoses,
        seed=settings.seed,
        display_size=display_size,
        items=drawn.items,
        readers={
            reader: Reader(drawn.groups[reader], order, token_sha256(tokens[reader]))
            for reader, order in drawn.orders.items()
        },
        image_sha256=dict(image_sha256),
        training_solutions={
            key: tuple(drawn.is_synthetic[image] for image in item.images)
            for key, item in drawn.items.items()
            if item.is_training
        },
        plan=plan,
    )
    key = {
        image: ImageOrigin(drawn.is_synthetic[image], candidate.cohort, candidate.record, candidate.labels)
        for image, candidate in drawn.images.items()
    }
    return design, key


def _item_sides(settings: DesignSettings, random: np.random.Generator) -> list[ItemSides]:
    asked = [kind for kind in KINDS if settings.items.get(kind, 0)]
    sides: list[ItemSides] = []
    for is_training, block in [(True, ""), *((False, block) for block in settings.blocks or ("",))]:
        for kind in asked:
            count = settings.training if is_training else settings.items[kind]
            if kind == "grid":
                drawn = [tuple(row) for row in (random.random((count, GRID_IMAGES)) < 0.5).tolist()]
            else:
                halves = random.permutation(np.arange(count + count % 2) % 2 == 0)[:count].tolist()
                drawn = [(half, not half) if kind == "pair" else (half,) for half in halves]
            sides += [ItemSides(kind, block, is_training, row) for row in drawn]
    return sides


def _random_names(count: int, random: np.random.Generator) -> list[str]:
    names: set[str] = set()
    while len(names) < count:
        names.add(random.bytes(KEY_DIGITS // 2).hex())
    return [sorted(names)[place] for place in random.permutation(count)]


def _named_items(
    settings: DesignSettings, sides: Sequence[ItemSides], chosen: Sequence[Sequence[Candidate]], names: Sequence[str]
) -> tuple[dict[str, Item], dict[str, Candidate], dict[str, bool]]:
    items: dict[str, Item] = {}
    images: dict[str, Candidate] = {}
    is_synthetic: dict[str, bool] = {}
    free = iter(names)
    for number, (item, candidates) in enumerate(zip(sides, chosen, strict=True)):
        keys = tuple(next(free) for _ in candidates)
        images |= dict(zip(keys, candidates, strict=True))
        is_synthetic |= dict(zip(keys, item.is_synthetic, strict=True))
        is_timed = item.kind == "single"
        items[f"item {number}"] = Item(
            item.kind,
            keys,
            block=item.block,
            is_training=item.is_training,
            exposure_seconds=settings.exposure_seconds if is_timed else None,
            is_staircase=settings.is_staircase and is_timed and not item.is_training,
        )
    return items, images, is_synthetic


def _repeated_items(items: Mapping[str, Item], chosen: Sequence[str], random: np.random.Generator) -> dict[str, Item]:
    """The same images in a new order, so that nobody recognises the item by its sides."""
    repeated: dict[str, Item] = {}
    for key in chosen:
        images = items[key].images
        order = [images[place] for place in random.permutation(len(images))]
        repeated[key] = dataclasses.replace(items[key], images=tuple(order), repeat_of=key)
    return repeated


def _item_keys(items: Mapping[str, Item], random: np.random.Generator) -> dict[str, str]:
    """Keys that a reader may see: numbers at random, so that neither a repeat nor a block shows."""
    keys: dict[str, str] = {}
    for kind in KINDS:
        of_kind = [key for key, item in items.items() if item.kind == kind]
        width = len(str(len(of_kind)))
        for number, place in enumerate(random.permutation(len(of_kind)), 1):
            keys[of_kind[place]] = f"{kind}-{number:0{width}d}"
    return keys

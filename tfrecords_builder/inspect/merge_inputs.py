"""The data folders of a merge: what may be merged, and where each label of the result stands in each of them."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from tfcxr.command_line import Arguments, flag
from tfcxr.data.label_choice import choose_labels
from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import DatasetInfo
from tfcxr.registry import nearest_name
from tfrecords_builder.inspect.data_folders import find_data_folders

# arguments of a build that do not change how an image looks
_NOT_PIXELS = {
    *("reader_settings", "labels", "only_labels", "splits", "split_by", "kept_patients", "moved_patients"),
    *("seed", "duplicates"),
}


@dataclasses.dataclass(frozen=True)
class MergeOptions(Arguments):
    """Every argument of a merge beside the folders.

    Attributes:
      renames: A label's new name, OLD=NEW, or SET:OLD=NEW for one data set; may be repeated.
      label_names: Labels of the result in this order; by default all, as they appear. Of one folder whose classes
        exclude each other, images of other classes are left out, counted as excluded_label.
      splits: Splits to take; by default all.
      shard_images: At most this many images per shard.
      seed: Seed of the order of images.
      is_single_label: The labels exclude each other over all data sets, so that a name that a set does not have is
        absent (0) there, not unknown.
      mix_synthetic: Let synthetic and real images stand in one folder, for training only.
    """

    renames: tuple[str, ...] = flag((), name="rename", is_repeated=True)
    label_names: tuple[str, ...] | None = flag(None, name="labels")
    splits: tuple[str, ...] | None = None
    shard_images: int = flag(2000, minimum=1)
    seed: int = 0
    is_single_label: bool = flag(False, name="single_label")
    mix_synthetic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_names is not None and (not self.label_names or len({*self.label_names}) < len(self.label_names)):
            raise ValueError(f"labels expects one or more names, each once, got {','.join(self.label_names)!r}")

    def as_json(self) -> dict[str, Any]:
        """The arguments as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(MergeOptions)}
        return json.loads(json.dumps(values))


@dataclasses.dataclass(frozen=True)
class MergeInput:
    """One data folder of a merge.

    Attributes:
      name: the data set's, with a number where the same data set is given more than once.
      label_names: its own, after renaming.
      columns: for each label name of the result its place in `label_names`, or None.
    """

    folder: pathlib.Path
    info: DatasetInfo
    name: str
    label_names: tuple[str, ...]
    columns: tuple[int | None, ...] = ()

    def without_splits(self) -> "MergeInput":
        """The input without the names of its shards, of which there may be thousands."""
        return dataclasses.replace(self, info=dataclasses.replace(self.info, splits={}))


@dataclasses.dataclass(frozen=True)
class MergedLabels:
    """What the labels of the result are.

    Attributes:
      names: in their order.
      is_single_label: whether they exclude each other.
      absent: value of a name that a set does not have.
      drops_images: whether images without any of the labels are left out.
    """

    names: tuple[str, ...]
    is_single_label: bool
    absent: float
    drops_images: bool = False


def inputs_by_size(folders: Sequence[str | pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """Folder of the result below OUT ("" for OUT itself, or a size such as "64") -> the data folders that go into it.

    Raises:
      FileNotFoundError: one is no data folder and has none at several sizes.
      ValueError: no folder, one given twice, some of one size beside some of several, or other sizes.
    """
    paths = [pathlib.Path(folder) for folder in folders]
    if not paths:
        raise ValueError("a merge takes two data folders or more, or one and --labels, got none")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"a folder is named twice: {', '.join(map(str, paths))}")
    sizes = {path: [size.name for size in find_data_folders(path) if size != path] for path in paths}
    if not any(sizes.values()):
        return {"": paths}
    if len({tuple(found) for found in sizes.values()}) > 1:
        held = "; ".join(f"{path}: {', '.join(found) or 'a single size'}" for path, found in sizes.items())
        raise ValueError(f"the folders hold different image sizes ({held}); name the folders of one size instead")
    return {size: [path / size for path in paths] for size in sizes[paths[0]]}


def read_inputs(folders: Sequence[pathlib.Path], options: MergeOptions) -> tuple[list[MergeInput], MergedLabels]:
    """Reads the info files, refuses what does not fit together, and aligns the labels by name.

    Raises:
      ValueError: another image size or number of bits, one data set with two salts, synthetic beside real images that
        were not asked for, a label or split that no data set has, a set that would have one name twice, one folder
        that nothing is asked of.
    """
    inputs: list[MergeInput] = []
    for folder in folders:
        info = read_dataset_info(folder)
        times = sum(entry.info.name == info.name for entry in inputs)
        inputs.append(MergeInput(folder, info, f"{info.name}_{times + 1}" if times else info.name, info.label_names))
    _check_fit(inputs, options)
    inputs = _rename(inputs, options.renames)
    labels = _choose_labels(inputs[0], options) if len(inputs) == 1 else _merge_labels(inputs, options)
    _warn_of_other_preprocessing(inputs)
    for number, entry in enumerate(inputs):
        place = {label: column for column, label in enumerate(entry.label_names)}
        inputs[number] = dataclasses.replace(entry, columns=tuple(map(place.get, labels.names)))
    return inputs, labels


def _check_fit(inputs: Sequence[MergeInput], options: MergeOptions) -> None:
    """Image sizes and bits, salts, kinds of images, and the splits that are asked for."""
    first = inputs[0].info
    salts: dict[str, tuple[str, pathlib.Path]] = {}
    for entry in inputs:
        info, folder = entry.info, entry.folder
        if (info.image_size, info.bits) != (first.image_size, first.bits):
            raise ValueError(
                f"{inputs[0].folder} holds images of {first.image_size} px and {first.bits} bits, {folder} of "
                f"{info.image_size} px and {info.bits} bits; build both with the same --image_sizes and --bits"
            )
        for name, salt in _real_sets(info.name, info.salt_fingerprint, info.is_synthetic, info.provenance):
            first_salt, first_folder = salts.setdefault(name, (salt, folder))
            if salt != first_salt:
                raise ValueError(
                    f"{first_folder} and {folder} hold data set {name} hashed with two salts, so that a patient of "
                    "both would not be recognised; build both with the same --salt_file"
                )
    synthetic = [str(entry.folder) for entry in inputs if entry.info.is_synthetic]
    if synthetic and len(synthetic) < len(inputs) and not options.mix_synthetic:
        raise ValueError(
            f"{', '.join(synthetic)} holds synthetic images and the others hold real ones; --mix_synthetic merges "
            "them, for training only"
        )
    available = dict.fromkeys(split for entry in inputs for split in entry.info.splits)
    for split in options.splits or ():
        if split not in available:
            raise ValueError(f"no data set has a split {split!r}; {nearest_name(split, available)}")


def _real_sets(name: str, salt: str, is_synthetic: bool, provenance: Mapping) -> Iterator[tuple[str, str]]:
    """Name and salt fingerprint of each real data set in a folder, which may be a merge itself."""
    if inputs := provenance.get("inputs"):
        for entry in inputs.values():
            facts = (entry[field] for field in ("dataset", "salt_fingerprint", "is_synthetic", "provenance"))
            yield from _real_sets(*facts)
    elif not is_synthetic:
        yield name, salt


def _rename(inputs: Sequence[MergeInput], renames: Sequence[str]) -> list[MergeInput]:
    """The data sets with their labels renamed."""
    every: dict[str, str] = {}
    of_one: dict[tuple[str, str], str] = {}
    labels = dict.fromkeys(label for entry in inputs for label in entry.label_names)
    sets = dict.fromkeys([*(entry.name for entry in inputs), *(entry.info.name for entry in inputs)])
    for text in renames:
        old, equals, new = text.partition("=")
        if not (old and equals and new) or "=" in new:
            raise ValueError(f"--rename expects OLD=NEW or SET:OLD=NEW, got {text!r}")
        if old in labels:
            every[old] = new
            continue
        name, colon, label = old.partition(":")
        if not colon:
            raise ValueError(f"--rename {text}: no data set has a label {old!r}; {nearest_name(old, labels)}")
        if name not in sets:
            raise ValueError(f"--rename {text}: no data set is called {name!r}; {nearest_name(name, sets)}")
        own = [own for entry in inputs if name in (entry.name, entry.info.name) for own in entry.label_names]
        if label not in own:
            raise ValueError(f"--rename {text}: {name} has no label {label!r}; {nearest_name(label, own)}")
        of_one[name, label] = new
    renamed = []
    for entry in inputs:
        for_all = {label: every.get(label, label) for label in entry.label_names}
        of_set = {label: of_one.get((entry.info.name, label), new) for label, new in for_all.items()}
        own = tuple(of_one.get((entry.name, label), new) for label, new in of_set.items())
        if len(set(own)) < len(own):
            raise ValueError(f"after renaming, {entry.name} has one label name twice: {', '.join(own)}")
        renamed.append(dataclasses.replace(entry, label_names=own))
    return renamed


def _choose_labels(entry: MergeInput, options: MergeOptions) -> MergedLabels:
    """The labels of interest of one folder.

    Raises:
      ValueError: nothing is asked for that would change the folder, or a label that it does not have.
    """
    if not (options.label_names or options.renames or options.splits):
        raise ValueError(
            f"{entry.folder} alone is nothing to merge; name further folders, or --labels, --rename or --splits to "
            "change what it holds"
        )
    choice = choose_labels(dataclasses.replace(entry.info, label_names=entry.label_names), options.label_names or ())
    return MergedLabels(choice.names, entry.info.is_single_label, math.nan, choice.drops_images)


def _merge_labels(inputs: Sequence[MergeInput], options: MergeOptions) -> MergedLabels:
    union = tuple(dict.fromkeys(label for entry in inputs for label in entry.label_names))
    for label in options.label_names or ():
        if label not in union:
            raise ValueError(f"no data set has a label {label!r} after renaming; {nearest_name(label, union)}")
    merged = options.label_names or union
    if not options.is_single_label:
        same = [entry.info.is_single_label and set(entry.label_names) == set(merged) for entry in inputs]
        return MergedLabels(merged, all(same), math.nan)
    if many := [entry.name for entry in inputs if not entry.info.is_single_label]:
        raise ValueError(
            "--single_label needs data sets of which each image has exactly one label, which is not so of "
            f"{', '.join(many)}"
        )
    return MergedLabels(merged, True, 0.0)


def _warn_of_other_preprocessing(inputs: Sequence[MergeInput]) -> None:
    """A model could tell images that were prepared in one way from images that were prepared in another."""
    first = inputs[0].info.preprocessing
    for entry in inputs[1:]:
        other = entry.info.preprocessing
        steps = sorted(step for step in {*first, *other} - _NOT_PIXELS if first.get(step) != other.get(step))
        if steps:
            logging.warning("%s and %s were prepared differently: %s", inputs[0].name, entry.name, ", ".join(steps))

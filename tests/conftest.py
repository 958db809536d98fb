"""Data that many tests share: a tiny folder of 32-px records with two exclusive labels, made by the test run itself."""

import os
import pathlib
from collections.abc import Callable

import tfcxr  # noqa: F401  # before TensorFlow, for which it sets variables

# two test processes and the commands they start share the cores
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record

SIZE = 32
LABEL_NAMES = ("NORMAL", "PNEUMONIA")


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.MirroredStrategy:
    """One strategy for all tests of a process: collectives of a second one would mix with the first one's."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(autouse=True)
def no_determinism_for_later_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow cannot take it back, and other tests of this process draw without a seed."""
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)


def pytest_configure(config: pytest.Config) -> None:
    """Two logical CPUs stand in for two GPUs; one thread each keeps the runs' bits the same."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def draw_image(index: int, is_positive: bool, size: int = SIZE) -> np.ndarray:
    """A bright disc on noise, in the upper half for one class and the lower for the other."""
    generator = np.random.default_rng(index)
    rows, columns = np.mgrid[:size, :size]
    center = (size * (0.7 if is_positive else 0.3), size * generator.uniform(0.3, 0.7))
    disc = np.exp(-((rows - center[0]) ** 2 + (columns - center[1]) ** 2) / (size / 6) ** 2)
    return np.clip(40 + 160 * disc + generator.normal(0, 8, (size, size)), 0, 255).astype(np.uint8)


def write_records(
    data_dir: pathlib.Path,
    counts: dict[str, int],
    shards: int = 3,
    encoding: str = "raw",
    images_a_patient: int = 2,
    is_labelled: bool = True,
    **facts,
) -> DatasetInfo:
    """Writes `counts[split]` images of alternating label; patients have two images each and stay in their split."""
    splits = {}
    index = 0
    names = LABEL_NAMES if is_labelled else ()
    for split, count in counts.items():
        records = []
        for _ in range(count):
            is_positive = index % 2 == 1
            label = (float(not is_positive), float(is_positive)) if is_labelled else ()
            patient_key = f"patient-{split}-{len(records) // images_a_patient}"
            records.append(Record(draw_image(index, is_positive), f"image-{index:04d}", label, patient_key))
            index += 1
        written = [
            write_shard(
                data_dir / shard_name(split, shard, shards),
                [encode_record(record, encoding) for record in records[shard::shards]],
            )
            for shard in range(shards)
        ]
        positives = [sum(int(record.label[column]) for record in records) for column in range(len(names))]
        labels = {
            name: {"positive": positive, "negative": count - positive, "unknown": 0}
            for name, positive in zip(names, positives, strict=True)
        }
        splits[split] = SplitInfo(count, len({r.patient_key for r in records}), labels, tuple(written))
    info = DatasetInfo(
        **{
            "name": "discs",
            "label_names": names,
            "is_single_label": is_labelled,
            "image_size": SIZE,
            "bits": 8,
            "encoding": encoding,
            "splits": splits,
            "images_read": sum(counts.values()),
            "images_written": sum(counts.values()),
            "rejected": {},
            "preprocessing": {},
            "source": {"licence": "made by the tests"},
            "salt_fingerprint": "tests",
        }
        | facts
    )
    write_dataset_info(data_dir, info)
    return info


@pytest.fixture(name="write_records", scope="session")
def write_records_fixture() -> Callable[..., DatasetInfo]:
    """`write_records`, for records of other counts or facts than `disc_records`."""
    return write_records


@pytest.fixture(scope="session")
def disc_records(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder of 32-px discs: 48 train, 16 validation, 16 test images. Do not change it."""
    data_dir = tmp_path_factory.mktemp("discs") / str(SIZE)
    write_records(data_dir, {"train": 48, "validation": 16, "test": 16})
    return data_dir

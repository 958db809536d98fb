"""Reading measured: of noise records and of a data folder."""

import pytest

from tfcxr.benchmarks.measurement import MeasurementArguments
from tfcxr.benchmarks.pipeline import measure_pipeline, write_noise_records
from tfcxr.data.pipeline import load_images


def test_noise_records_can_be_read(tmp_path):
    images = load_images(write_noise_records(tmp_path, 32, ("a", "b")), "train")
    assert images.images.shape == (4096, 32, 32, 1) and images.info.is_synthetic


def test_splits_of_a_data_folder_are_read(disc_records):
    arguments = MeasurementArguments(image_size=32, batch_size=50, data_dir=str(disc_records), pipeline_seconds=0.1)
    with pytest.raises(ValueError, match="split 'train' of discs holds 48 images, too few for one batch of 50"):
        measure_pipeline(arguments)
    of_two = MeasurementArguments(
        image_size=32, batch_size=50, data_dir=str(disc_records), pipeline_seconds=0.1, splits=("train", "validation")
    )
    assert measure_pipeline(of_two)["images_per_second"] > 0

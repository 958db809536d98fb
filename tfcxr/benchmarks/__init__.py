"""What `tfcxr.benchmark` measures: one measurement per file, one line here."""

from tfcxr.benchmarks.builder import describe_builder, measure_builder
from tfcxr.benchmarks.generation import describe_generation, measure_generation
from tfcxr.benchmarks.measurement import Measurement
from tfcxr.benchmarks.pipeline import measure_pipeline
from tfcxr.benchmarks.stage_memory import describe_stages, measure_stages
from tfcxr.benchmarks.training_step import describe_training, measure_training

MEASUREMENTS = {
    "train": Measurement(measure_training, describe_training),
    "pipeline": Measurement(measure_pipeline, "batch {batch_size}".format_map),
    "generate": Measurement(measure_generation, describe_generation),
    "builder": Measurement(measure_builder, describe_builder),
    "stages": Measurement(measure_stages, describe_stages),
}

"""What `tfcxr.benchmark` measures: one measurement per file, one line here."""

from typing import TYPE_CHECKING

from tfcxr.registry import Registry

if TYPE_CHECKING:
    from tfcxr.benchmarks.measurement import Measurement

MEASUREMENTS: "Registry[Measurement]" = Registry(
    train="tfcxr.benchmarks.training_step:TRAIN",
    pipeline="tfcxr.benchmarks.pipeline:PIPELINE",
    generate="tfcxr.benchmarks.generation:GENERATE",
    onnx="tfcxr.benchmarks.generation_onnx:ONNX",
    serve="tfcxr.benchmarks.serving:SERVE",
    features="tfcxr.benchmarks.features:FEATURES",
    optimize="tfcxr.benchmarks.optimization:OPTIMIZE",
    builder="tfcxr.benchmarks.builder:BUILDER",
    stages="tfcxr.benchmarks.stage_memory:STAGES",
)

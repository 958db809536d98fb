"""The warm-up requests of every export, read with TensorFlow Serving's own messages and answered by the SavedModel."""

import pytest
import tensorflow as tf

from tfcxr.data.tfrecord import read_records
from tfcxr.serving.cascade import export_cascade
from tfcxr.serving.gate import Gate
from tfcxr.serving.saved_model import export_model
from tfcxr.serving.warmup import WARMUP_FILE

prediction_log_pb2 = pytest.importorskip(
    "tensorflow_serving.apis.prediction_log_pb2", reason="needs the extra 'serving'"
)


def rows_answered(path):
    """Replays each request on the loaded SavedModel: (signature, rows of the answer), in the file's order."""
    signatures, answered = tf.saved_model.load(str(path)).signatures, []
    for record in read_records(path / WARMUP_FILE):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == path.parent.name and not request.model_spec.HasField("version")
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        rows = {len(output) for output in outputs.values()} | {len(value) for value in inputs.values()}
        assert len(rows) == 1, "every input and output has a row per image, as servers that join requests need it"
        answered.append((request.model_spec.signature_name, *rows))
    return answered


def test_every_signature_of_a_generator_is_warmed_up(tiny_export):
    expected = [("serving_default", 1), ("serving_default", 8), ("png", 1), ("latent", 1), ("score", 1)]
    assert rows_answered(tiny_export) == expected


def test_tensorflow_reads_the_file_too(tiny_export):
    records = list(tf.data.TFRecordDataset(str(tiny_export / WARMUP_FILE)).as_numpy_iterator())
    assert records == list(read_records(tiny_export / WARMUP_FILE)) and len(records) == 5


@pytest.mark.thorough
def test_other_kinds_are_warmed_up_too(unlabelled_export, tiny_export, tiny_enlarger, tmp_path):
    assert len(rows_answered(unlabelled_export)) == 5
    cascade = export_cascade(tiny_export, tiny_enlarger, tmp_path / "cascade", Gate(0.0, 2))
    assert rows_answered(cascade) == [("serving_default", 1), ("serving_default", 8), ("png", 1)]


@pytest.mark.thorough
def test_the_same_export_writes_the_same_file(make_tiny_gan, tmp_path):
    model, run = make_tiny_gan()
    first, second = (export_model(model, run, tmp_path / folder / "gan", {"step": 1}) for folder in "ab")
    assert (first / WARMUP_FILE).read_bytes() == (second / WARMUP_FILE).read_bytes()

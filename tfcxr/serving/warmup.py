"""Requests with which TensorFlow Serving warms a model up before the first user's: nobody waits for its graph.

TensorFlow Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog`. Its
messages are not in TensorFlow, so the few fields that are needed are defined here. They have the numbers of TensorFlow
Serving's `prediction_log.proto`, `predict.proto` and `model.proto`.
"""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfcxr.data.tfrecord import framed
from tfcxr.serving.example_request import example_request
from tfcxr.serving.signatures import signatures_of

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
BATCH_ROWS = 8  # of the second request for `serving_default`
_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto


def write_warmup_requests(folder: pathlib.Path, name: str, served: Any) -> None:
    """Writes a request of one image for each signature, and one of `BATCH_ROWS` images for `serving_default`.

    Args:
      folder: the version's.
      name: of the model on a server.
      served: what is exported, a `tfcxr.serving.served.Served`.
    """
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with path.open("wb") as file:
        for signature in signatures_of(served.kind).values():
            for rows in (1, BATCH_ROWS) if signature.name == "serving_default" else (1,):
                inputs = example_request(signature, served, rows)
                file.write(framed(_prediction_log(name, signature.name, inputs)))


def _prediction_log(name: str, signature_name: str, inputs: dict[str, np.ndarray]) -> bytes:
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = name, signature_name
    for key, value in inputs.items():
        request.inputs[key] = tf.make_tensor_proto(value).SerializeToString()
    return log.SerializeToString(deterministic=True)


def _define_prediction_log() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="prediction_log.proto", package=_PACKAGE, syntax="proto3")
    spec = file.message_type.add(name="ModelSpec")
    spec.field.add(name="name", number=1, type=_Field.TYPE_STRING)
    spec.field.add(name="signature_name", number=3, type=_Field.TYPE_STRING)
    request = file.message_type.add(name="PredictRequest")
    request.field.add(name="model_spec", number=1, type_name=f".{_PACKAGE}.ModelSpec")
    entry = request.nested_type.add(name="InputsEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING)
    entry.field.add(name="value", number=2, type=_Field.TYPE_BYTES)  # a TensorProto: both are length and bytes
    entry_type = f".{_PACKAGE}.PredictRequest.InputsEntry"
    request.field.add(name="inputs", number=2, label=_Field.LABEL_REPEATED, type_name=entry_type)
    log = file.message_type.add(name="PredictLog")
    log.field.add(name="request", number=1, type_name=f".{_PACKAGE}.PredictRequest")
    outer = file.message_type.add(name="PredictionLog")
    outer.field.add(name="predict_log", number=6, type_name=f".{_PACKAGE}.PredictLog")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog"))


PredictionLog: Any = _define_prediction_log()

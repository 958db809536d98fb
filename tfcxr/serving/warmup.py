"""Requests with which TensorFlow Serving warms a model up before the first user's: nobody waits for its graph.

TensorFlow Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog`.
"""

import pathlib
from typing import Any

import numpy as np

from tfcxr.data.tfrecord import framed
from tfcxr.serving.example_request import example_request
from tfcxr.serving.protocol_messages import MESSAGES
from tfcxr.serving.signatures import signatures_of
from tfcxr.serving.tensor_message import tensor_message

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
BATCH_ROWS = 8  # of the second request for `serving_default`


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
    log = MESSAGES["PredictionLog"]()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = name, signature_name
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tensor_message(value))
    return log.SerializeToString(deterministic=True)

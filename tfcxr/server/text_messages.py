"""Configuration files in protobuf's text format, as TensorFlow Serving's flags name them.

`ModelServerConfig` comes with tensorflow-serving-api. The other three do not, so they are described here with the names
that such files use; they are only read from text, never sent.
"""

import os
import pathlib
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tfcxr.data.message_classes import message_classes

_DEFINITIONS = """
SSLConfig { string server_key = 1, string server_cert = 2, string custom_ca = 3, bool client_verify = 4 }
PrometheusConfig { bool enable = 1, string path = 2 }
MonitoringConfig { PrometheusConfig prometheus_config = 1 }
Int64Value { int64 value = 1 }
StringValue { string value = 1 }
BoolValue { bool value = 1 }
BatchingParameters {
  Int64Value max_batch_size = 1, Int64Value batch_timeout_micros = 2, Int64Value max_enqueued_batches = 3,
  Int64Value num_batch_threads = 4, StringValue thread_pool_name = 5, repeated int64 allowed_batch_sizes = 6,
  bool pad_variable_length_inputs = 7, BoolValue enable_large_batch_splitting = 8,
  Int64Value max_execution_batch_size = 9
}
"""
MESSAGES: dict[str, Any] = {
    "ModelServerConfig": ModelServerConfig,
    **message_classes("tfcxr.server", _DEFINITIONS),
}


def read_text_message(path: str | os.PathLike, name: str) -> Any:
    """The message of a text file; `name` is one of `MESSAGES`.

    Raises:
      FileNotFoundError: no such file.
      ValueError: it is not such a message; the line is named.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a file of {name} in protobuf's text format")
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), MESSAGES[name]())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"Error parsing text-format tensorflow.serving.{name}: {path}: {error}") from error

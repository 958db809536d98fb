"""Configuration files in protobuf's text format, as TensorFlow Serving's flags name them.

`ModelServerConfig` comes with tensorflow-serving-api. The other three do not, so they are described here with the names
that such files use; they are only read from text, never sent.
"""

import os
import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
_TEXT, _TRUTH, _WHOLE = _Field.TYPE_STRING, _Field.TYPE_BOOL, _Field.TYPE_INT64
# a field's type is a number of descriptor.proto, a message of this table, or a list with one of these
_MESSAGES: dict[str, dict[str, Any]] = {
    "SSLConfig": {"server_key": _TEXT, "server_cert": _TEXT, "custom_ca": _TEXT, "client_verify": _TRUTH},
    "PrometheusConfig": {"enable": _TRUTH, "path": _TEXT},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "Int64Value": {"value": _WHOLE},
    "StringValue": {"value": _TEXT},
    "BoolValue": {"value": _TRUTH},
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
        "allowed_batch_sizes": [_WHOLE],
        "pad_variable_length_inputs": _TRUTH,
    },
}


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="server_text.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            label = _Field.LABEL_REPEATED if isinstance(kind, list) else _Field.LABEL_OPTIONAL
            (kind,) = kind if isinstance(kind, list) else (kind,)
            typed = {"type_name": f".{_PACKAGE}.{kind}"} if isinstance(kind, str) else {"type": kind}
            message.field.add(name=field, number=number, label=label, **typed)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("SSLConfig", "MonitoringConfig", "BatchingParameters")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names}


MESSAGES: dict[str, Any] = {"ModelServerConfig": ModelServerConfig, **_message_classes()}


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

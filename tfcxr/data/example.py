"""`tf.train.Example`, the message that a record is, without TensorFlow.

It has the fields and numbers of TensorFlow's `example.proto` and `feature.proto`, so the bytes are the same.
"""

from typing import Any

from tfcxr.data.message_classes import message_classes

Example: Any = message_classes(
    "tensorflow",
    """
    BytesList { repeated bytes value = 1 }
    FloatList { repeated float value = 1 }
    Int64List { repeated int64 value = 1 }
    Feature {
      oneof kind BytesList bytes_list = 1, oneof kind FloatList float_list = 2, oneof kind Int64List int64_list = 3
    }
    Features { map Feature feature = 1 }
    Example { Features features = 1 }
    """,
)["Example"]

"""A serialised record -> `Record`, one at a time and without TensorFlow."""

import math

from tfcxr.data.example import Example
from tfcxr.data.schema import DatasetInfo, Record, record_image


def decode_record(example: bytes, info: DatasetInfo) -> Record:
    """Reads what `tfcxr.data.schema.encode_record` wrote.

    Raises:
      ValueError: no image of the data set's size and depth, an empty key, or not one label value per label name.
    """
    image = record_image(example, info)
    features = Example.FromString(example).features.feature

    def text(name: str) -> str:
        return b"".join(features[name].bytes_list.value).decode()

    label = tuple(features["label"].float_list.value)
    if len(label) != len(info.label_names):
        raise ValueError(f"expected {len(info.label_names)} label values, got {len(label)}")
    key, patient_key = text("image/key"), text("patient/key")
    if not key or not patient_key:
        raise ValueError(f"expected an image key and a patient key; the {'patient' if key else 'image'} key is empty")
    (age,) = features["patient/age"].float_list.value or [math.nan]
    return Record(image, key, label, patient_key, text("view"), age, text("patient/sex"))

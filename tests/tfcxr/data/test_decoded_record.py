"""Records are decoded to what was encoded."""

import dataclasses
import math

import numpy as np
import pytest

from tfcxr.data.decoded_record import decode_record
from tfcxr.data.records import read_dataset_info
from tfcxr.data.schema import Record, encode_record

IMAGE = np.arange(1024, dtype=np.uint8).reshape(32, 32)
WHOLE = Record(IMAGE, "clé", (1.0, 0.0), "p", "LATERAL", 60.5, "F")


@pytest.fixture
def info(disc_records):
    return read_dataset_info(disc_records)


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("record", [WHOLE, Record(IMAGE, "k", (1.0, math.nan), "p")], ids=["whole", "bare"])
def test_what_was_encoded_is_decoded(info, record, encoding):
    decoded = decode_record(encode_record(record, encoding), dataclasses.replace(info, encoding=encoding))
    np.testing.assert_equal(dataclasses.asdict(decoded), dataclasses.asdict(record))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": IMAGE[:16]}, "it holds no image"),
        ({"label": (1.0,)}, "expected 2 label values, got 1"),
        ({"key": ""}, "expected an image key and a patient key; the image key is empty"),
        ({"patient_key": ""}, "the patient key is empty"),
    ],
)
def test_what_is_no_record_of_the_data_set_is_refused(info, changed, message):
    with pytest.raises(ValueError, match=message):
        decode_record(encode_record(dataclasses.replace(WHOLE, **changed), "raw"), info)

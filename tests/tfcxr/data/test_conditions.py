"""Fields of a record as numbers, and back."""

import numpy as np
import pytest

from tfcxr.data.condition_values import condition_values, with_unknown
from tfcxr.data.conditions import condition_columns, read_condition, record_fields

ALL = ("sex=F", "age", "view=PA", "view=AP", "view=LATERAL")


def test_fields_become_columns_and_fields_again():
    assert condition_columns(("sex", "age", "view")) == ALL and condition_columns(()) == ()
    facts = {
        "sex": np.array(["F", "M", ""]),
        "age": np.array([60, 110, np.nan], np.float32),
        "view": np.array(["AP", "LATERAL", ""]),
    }
    values = condition_values(facts, ALL).numpy()
    nan = np.nan
    np.testing.assert_allclose(values, [[1, 0.6, 0, 1, 0], [0, 1, 0, 0, 1], [nan] * 5], rtol=1e-6)
    np.testing.assert_array_equal(with_unknown(values)[2], [0.5] * 5)
    assert record_fields(values[0], ALL) == {"sex": "F", "age": 60.0, "view": "AP"}
    assert record_fields(values[1], ALL) == {"sex": "M", "age": 100.0, "view": "LATERAL"}
    assert record_fields(values[2], ALL) == {} and record_fields(values[1][:1], ALL[:1]) == {"sex": "M"}


def test_a_text_decides_the_columns_of_its_field():
    assert read_condition("sex=M", ALL) == {"sex=F": 0.0} and read_condition("age=58", ALL) == {"age": 0.58}
    assert read_condition("view=AP", ALL) == {"view=PA": 0.0, "view=AP": 1.0, "view=LATERAL": 0.0}
    for text, columns in (("sex=X", ALL), ("age=old", ALL), ("view=PA", ALL[:2]), ("weight=80", ALL)):
        with pytest.raises(ValueError, match=f"the model has no condition '{text}'; it reads sex=F|M, age=YEARS"):
            read_condition(text, columns)
    with pytest.raises(ValueError, match="no condition 'sex=F'; it reads labels alone"):
        read_condition("sex=F", ())

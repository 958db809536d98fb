import numpy as np
import pytest
import tensorflow as tf

from tfcxr.training.checkpoints import Checkpoints, read_state, restore


def make_variables(value=0.0):
    return {"a": tf.Variable([value, value + 1]), "b": tf.Variable(int(value), dtype=tf.int64)}


def test_values_and_state_come_back(tmp_path):
    path = Checkpoints(tmp_path).save(7, make_variables(3.0), {"note": 0.1 + 0.2})
    variables = make_variables()
    assert restore(path, variables) == {"note": 0.1 + 0.2, "step": 7}
    np.testing.assert_array_equal(variables["a"], [3.0, 4.0])
    assert int(variables["b"]) == 3


def test_newest_and_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.find() is checkpoints.find("best") is None
    assert checkpoints.last_step() == 0
    for step in range(1, 6):
        checkpoints.save(step, make_variables(float(step)), {}, is_best=step == 2)
    assert [path.name for path in checkpoints.paths()] == ["step-00000004.npz", "step-00000005.npz"]
    assert checkpoints.find() == checkpoints.paths()[-1]
    assert checkpoints.last_step() == 5
    assert restore(checkpoints.find("best"), make_variables())["step"] == 2


def test_the_best_takes_no_place_of_those_that_were_due(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in range(1, 13):
        is_due, is_best = step % 3 == 0, step in (2, 6, 7)
        if is_due or is_best:
            checkpoints.save(step, make_variables(float(step)), {}, is_due, is_best)
    assert checkpoints.steps() == [6, 9, 12] and checkpoints.last_step() == 12
    assert restore(checkpoints.find("best"), make_variables())["step"] == 7


def test_thirty_that_were_due_are_kept_in_a_regular_row_whatever_lies_between(tmp_path):
    def save(steps, every=10):
        for step in steps:
            checkpoints = Checkpoints(tmp_path, keep=30, every=every)  # a new process each time
            checkpoints.save(step, make_variables(float(step)), {}, is_best=step == 120)

    save([*range(10, 131, 10), 137])  # interrupted at 137
    assert Checkpoints(tmp_path).steps() == [*range(10, 131, 10), 137], "it takes no place, and is the last"
    save([*range(140, 401, 10), 404])  # and ended at 404
    row = [*range(110, 401, 10)]
    assert len(row) == 30 and Checkpoints(tmp_path).steps() == [*row, 404]
    save([410])
    assert Checkpoints(tmp_path).steps() == [*row[1:], 410]
    assert restore(Checkpoints(tmp_path).find("best"), make_variables())["step"] == 120
    for step in Checkpoints(tmp_path).steps():
        assert restore(Checkpoints(tmp_path).find(str(step)), make_variables())["step"] == step
    save([500], every=100)
    assert Checkpoints(tmp_path).steps() == [200, 300, 400, 500], "those of the interval that is asked for"


def test_the_state_is_read_alone(tmp_path):
    path = Checkpoints(tmp_path).save(7, make_variables(), {"quality": {"kid": [0.1 + 0.2]}})
    assert read_state(path) == {"quality": {"kid": [0.1 + 0.2]}, "step": 7}
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="is damaged"):
        read_state(path)


def test_a_checkpoint_is_found_by_its_step(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (4, 12):
        checkpoints.save(step, make_variables(float(step)), {})
    assert restore(checkpoints.find("4"), make_variables())["step"] == 4
    assert checkpoints.find("5") is None
    for wrong in ("newest", "-4", "4.0", "²"):
        with pytest.raises(ValueError, match="expected last, best or the number of a step"):
            checkpoints.find(wrong)


def test_truncated_file_is_refused(tmp_path):
    path = Checkpoints(tmp_path).save(1, make_variables(), {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="is damaged .* remove it, an older one will be used"):
        restore(path, make_variables())


def test_altered_file_is_refused(tmp_path):
    variables = {"a": tf.Variable(tf.range(1000.0))}
    path = Checkpoints(tmp_path).save(1, variables, {})
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        restore(path, variables)


def test_other_settings_are_refused_and_change_nothing(tmp_path):
    path = Checkpoints(tmp_path).save(1, make_variables(5.0), {})
    wider = make_variables() | {"a": tf.Variable([0.0, 0.0, 0.0])}
    with pytest.raises(ValueError, match=r"other settings: a has shape \(2,\), expected \(3,\)"):
        restore(path, wider)
    more = make_variables() | {"c": tf.Variable(0.0)}
    with pytest.raises(ValueError, match="1 variables occur on one side only, such as c"):
        restore(path, more)
    assert int(more["b"]) == 0


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "step-00000001.npz"
    np.savez(path, a=np.array([{"an": "object"}], dtype=object), state_json=np.array("{}"))
    with pytest.raises(ValueError, match="is damaged"):
        restore(path, {"a": tf.Variable([0.0])})


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        Checkpoints(tmp_path, keep=0)

"""A network's weights are found in what training programs save, and what was taken is said."""

import numpy as np
import pytest

from tfcxr.backbones.densenet import DenseNet
from tfcxr.porting import FORMATS
from tfcxr.porting.densenet import densenet_targets
from tfcxr.porting.inert_pickle import PickledObject
from tfcxr.porting.pytorch_file import read_pytorch_file
from tfcxr.porting.state_dicts import CONTAINERS, choose, state_dict, tensors

FIRST = "features.conv0.weight"


def weights(seed=0):
    generator = np.random.default_rng(seed)
    keys = (FIRST, "features.norm0.bias", "classifier.weight", "classifier.bias")
    return {key: generator.normal(size=[2, 3]).astype(np.float32) for key in keys}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


def prefixed(prefix, state):
    return {prefix + key: array for key, array in state.items()}


# prefixes


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.net.", "module.densenet121.", "a.b."]
)
def test_what_stands_before_a_known_key_is_taken_off(prefix):
    found = state_dict(prefixed(prefix, weights()), first_key=FIRST)
    assert_same(found, weights())
    assert found.notes == (f"The keys' prefix {prefix!r} was taken off.",)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.net."])
def test_without_a_known_key_only_wrappers_are_taken_off(prefix):
    found = state_dict(prefixed(prefix, weights()))
    assert_same(found, weights())
    assert found.notes == (f"The keys' prefix {prefix!r} was taken off.",)
    kept = prefixed("densenet121.", weights())
    assert_same(state_dict(kept), kept)


def test_a_prefix_of_the_network_itself_stays():
    state = {"features.0.weight": np.ones(2), "features.2.weight": np.ones(3)}
    found = state_dict(state, first_key="features.0.weight")
    assert list(found) == list(state) and found.notes == ()
    assert list(state_dict({"model.a": np.ones(1), "b": np.ones(1)})) == ["model.a", "b"], "not all have it"


def test_keys_beside_the_network_are_named():
    state = prefixed("model.", weights()) | {"criterion.pos_weight": np.ones(3), "step": np.array(7)}
    found = state_dict(state, first_key=FIRST)
    assert_same(found, weights())
    (note,) = found.notes
    assert note.endswith("keys without it were left out: 'criterion.pos_weight', 'step'.")


def test_two_networks_are_not_guessed_between():
    state = prefixed("student.", weights(1)) | prefixed("teacher.", weights(2))
    with pytest.raises(ValueError, match="holds several networks, 'student', 'teacher'; choose one with --entry"):
        state_dict(state, first_key=FIRST)
    assert_same(state_dict(choose(state, "teacher"), first_key=FIRST), weights(2))


# containers


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_holds_the_weights_is_entered(name):
    checkpoint = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.ones(2)}}}, name: weights(), "loss": np.ones(1)}
    found = state_dict(checkpoint)
    assert_same(found, weights())
    assert found.notes == (f"The weights are those of the entry {name!r}.",)


def test_containers_in_containers_and_prefixes():
    """As Lightning and DataParallel have them."""
    inner = prefixed("model.module.", weights())
    found = state_dict({"ema": {"module": {"state_dict": inner}}, "epoch": 1}, first_key=FIRST)
    assert_same(found, weights())
    entered = [f"The weights are those of the entry {name!r}." for name in ("ema", "module", "state_dict")]
    assert found.notes == (*entered, "The keys' prefix 'model.module.' was taken off.")


def test_a_choice_is_said_and_can_be_made_otherwise():
    checkpoint = {"ema": weights(1), "model": weights(2), "params_ema": weights(3)}
    found = state_dict(checkpoint)
    assert_same(found, weights(2))
    (note,) = found.notes
    assert (
        note == "The weights are those of the entry 'model'; 'ema', 'params_ema' would do as well, chosen by --entry."
    )
    assert_same(state_dict(choose(checkpoint, "ema")), weights(1))
    assert_same(choose({"a": checkpoint}, "a/params_ema"), weights(3))


def test_an_entry_of_another_name_is_not_guessed():
    checkpoint = {"classifier_net": weights(), "epoch": 3, "note": "text"}
    with pytest.raises(ValueError, match="no tensors are its keys classifier_net, note; 'classifier_net' may hold the"):
        state_dict(checkpoint)
    assert_same(state_dict(choose(checkpoint, "classifier_net")), weights())


@pytest.mark.parametrize(
    ("value", "entry", "message"),
    [
        ({"model": {}, "ema": {}}, "emma", "has no entry 'emma' for --entry; it has 'model', 'ema'$"),
        ({"model": {"a": 1}}, "model/b", "has no entry 'b' for --entry; it has 'a'$"),
        ([1], "model", "has no entry 'model' for --entry; it has none$"),
    ],
)
def test_an_unknown_entry(value, entry, message):
    with pytest.raises(ValueError, match=message):
        choose(value, entry)


def test_a_classifier_in_a_row_of_layers_is_the_classifier():
    """As CheXNet's programs have it: a linear layer and a sigmoid."""
    model = DenseNet(growth_rate=4, block_config=(1, 1), initial_filters=8, bottleneck_size=2, classes=5, channels=3)
    generator = np.random.default_rng(0)
    state = {}
    for key, target in densenet_targets(model).items():
        shape = tuple(target.variable.shape)
        shape = {4: shape[-1:] + shape[-2:-1] + shape[:2], 2: shape[::-1]}.get(len(shape), shape)
        state[key] = generator.uniform(0.1, 1.0, shape).astype(np.float32)
    rows = {key.replace("classifier.", "classifier.0."): array for key, array in state.items()}
    checkpoint = {"epoch": 3, "state_dict": prefixed("module.densenet121.", rows)}
    plain, found = FORMATS["torchvision_densenet121"].port(state), FORMATS["torchvision_densenet121"].port(checkpoint)
    moved = found.transfers["densenet"]
    assert moved.sha256 == plain.transfers["densenet"].sha256 and plain.transfers["densenet"].notes == ()
    assert moved.notes[0] == "The weights are those of the entry 'state_dict'."
    assert moved.notes[1] == "The keys' prefix 'module.densenet121.' was taken off."
    assert "layer 0, its only one with weights, is the classifier" in moved.notes[2] and "logits" in moved.notes[2]
    two = rows | {"classifier.2.weight": np.ones([5, 5], np.float32)}
    with pytest.raises(ValueError, match="2 missing: classifier.weight, classifier.bias; 3 without a place"):
        FORMATS["torchvision_densenet121"].port(two)


# whole modules


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_pickled_module_becomes_its_state_dict(torch_file, tmp_path, layout):
    write = {"zip": torch_file.write_zip, "legacy": torch_file.write_legacy}[layout]
    weight, mean, count = np.ones([2, 3], np.float32), np.zeros([2], np.float32), np.array(7)
    norm = torch_file.module(
        "torch.nn.modules.batchnorm.BatchNorm2d",
        buffers={"running_mean": mean, "lost": mean, "num_batches_tracked": count, "none": None},
        _non_persistent_buffers_set=torch_file.Call("builtins", "set", ["lost"]),
    )
    linear = torch_file.module("torch.nn.modules.linear.Linear", parameters={"weight": weight, "bias": None})
    features = torch_file.module("torch.nn.modules.container.Sequential", children={"0": norm, "gone": None})
    children = {"features": features, "classifier": linear}
    whole = torch_file.module("torchxrayvision.models.DenseNet", children=children, pathologies=["Mass"])
    found = read_pytorch_file(write(tmp_path / "file.pt", whole))
    assert (found.class_name, found.state["pathologies"]) == ("torchxrayvision.models.DenseNet", ["Mass"])
    state = state_dict(found)
    assert list(state) == ["features.0.running_mean", "features.0.num_batches_tracked", "classifier.weight"]
    np.testing.assert_array_equal(state["classifier.weight"], weight)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "expected a state dict .* in the file, which is of type list"),
        ({}, "expected a state dict .* in the file, which is an empty dictionary"),
        ({"a": np.ones(2), "b": "text", "c": {}}, "no tensors are its keys b, c"),
        (PickledObject("models.utils.config.BaseConfig", {}), "or a pickled torch.nn.Module, got a models.utils"),
        (PickledObject("torch.nn.N", {"_modules": {"a": PickledObject("torch.nn.ReLU")}}), "got a torch.nn.ReLU at a$"),
        (PickledObject("torch.nn.N", {"_modules": {"a": 3}}), "a is of type int, expected a module"),
        (PickledObject("torch.nn.N", {"_modules": {}, "_parameters": {"w": "x"}}), "w is of type str, expected a t"),
    ],
)
def test_what_is_no_state_dict_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        state_dict(value, "the file")


@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"model": module, "epoch": 3}])
def test_a_whole_network_of_another_program_is_refused(torch_file, tmp_path, wrap):
    """Its state_dict may be anything: only its program knows."""
    network = torch_file.module("__main__.Net", parameters={"w": np.ones(2, np.float32)})
    inside = torch_file.module("torch.nn.modules.container.Sequential", children={"0": network})
    message = r"whole network of the class __main__.Net.*torch.save\(model.state_dict\(\), "
    for module in (network, inside):
        checkpoint = read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", wrap(module)))
        with pytest.raises(ValueError, match=message):
            state_dict(checkpoint)


def test_a_module_wrapped_for_several_devices(torch_file, tmp_path):
    linear = torch_file.module("torch.nn.modules.linear.Linear", parameters={"weight": np.ones([2, 3], np.float32)})
    whole = torch_file.module("torch.nn.parallel.data_parallel.DataParallel", children={"module": linear})
    found = state_dict(read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", {"net": whole})))
    assert list(found) == ["weight"] and len(found.notes) == 2


@pytest.mark.thorough
def test_a_module_that_contains_itself_is_refused():
    endless = PickledObject("torch.nn.Sequential", {"_modules": {}})
    endless.state["_modules"]["again"] = endless
    with pytest.raises(ValueError, match="the pickled torch.nn.Sequential has no end at again"):
        state_dict(endless)
    many = PickledObject("torch.nn.Sequential", {"_modules": {}, "_parameters": {"w": np.zeros(1)}})
    for _ in range(40):  # 2^40 paths lead to the first
        many = PickledObject("torch.nn.Sequential", {"_modules": {"a": many, "b": many}})
    with pytest.raises(ValueError, match="the pickled torch.nn.Sequential has no end at"):
        state_dict(many)


# every tensor


def test_every_tensor_has_its_path(torch_file, tmp_path):
    weight = np.arange(6, dtype=np.float32)
    module = torch_file.module("torch.nn.Linear", parameters={"weight": weight})
    value = {"model": module, "list": [{"a": weight}, 3, (weight,)], 7: weight, "config": {"note": "text"}}
    found = list(tensors(read_pytorch_file(torch_file.write_zip(tmp_path / "file.pt", value))))
    assert [path for path, _ in found] == [["model", "weight"], ["list", 0, "a"], ["list", 2, 0], [7]]
    for _, array in found:
        np.testing.assert_array_equal(array, weight)


def test_a_network_of_another_program_is_listed_by_its_parts():
    """It may lie beside the weights, which are read."""
    network = PickledObject("__main__.Net", {"_modules": {}, "_parameters": {"w": np.ones(1)}})
    found = [path for path, _ in tensors({"state_dict": weights(), "teacher": network})]
    assert found == [["state_dict", key] for key in weights()] + [["teacher", "state", "_parameters", "w"]]


def test_shared_containers_are_listed_once():
    shared = {"a": np.ones(1)}
    for _ in range(100):  # 2^100 paths lead to it
        shared = {"left": shared, "right": shared}
    shared["self"] = shared
    assert [path for path, _ in tensors(shared)] == [["left"] * 100 + ["a"]]

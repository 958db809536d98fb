"""NVIDIA's own .pkl files: their tensors are read, the programs inside them are left alone."""

import numpy as np
import pytest

from tfcxr.porting import FORMATS
from tfcxr.porting.pytorch_file import read_pytorch_file
from tfcxr.porting.state_dicts import state_dict

BUFFERS = ("resample_filter", "noise_const", "w_avg")


@pytest.fixture
def write(torch_file, tmp_path):
    """A function: networks (name -> state dict) -> the path of a pickle as NVIDIA's program writes it.

    Every module is an object with the source text of its class; every tensor's storage is a small file of torch.save.
    """
    call = torch_file.Call
    source = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit"

    def ordered(items):
        return call("collections", "OrderedDict", list(items.items()))

    def tensor(array):
        array = np.array(array, order="C")
        flat = array.reshape(-1)
        path = torch_file.write_legacy(tmp_path / "storage", torch_file.Storage(torch_file.Tensor(flat, [1], [1])))
        storage = call("torch.storage", "_load_from_bytes", path.read_bytes())
        stride = [step // array.itemsize for step in array.strides]
        return call("torch._utils", "_rebuild_tensor_v2", storage, 0, array.shape, tuple(stride), False, ordered({}))

    def persistent(class_name, state):
        parameters, buffers, children = {}, {"dropped": tensor(np.ones(3, np.float32))}, {}
        for key, array in state.items():
            child, _, rest = key.partition(".")
            if rest:
                children.setdefault(child, {})[rest] = array
            elif key in BUFFERS:
                buffers[key] = tensor(array)
            else:
                parameters[key] = call("torch._utils", "_rebuild_parameter", tensor(array), False, ordered({}))
        attributes = {
            "training": False,
            "_parameters": ordered(parameters | {"absent": None}),
            "_buffers": ordered(buffers),
            "_non_persistent_buffers_set": call("builtins", "set", ["dropped"]),
            "_modules": ordered({name: persistent("Block", part) for name, part in children.items()}),
            "_init_args": (512, 0),
            "_init_kwargs": call("dnnlib.util", "EasyDict", is_new=True, state={"channel_base": 512}),
        }
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": attributes}
        return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)

    def write(networks):
        snapshot = {"training_set_kwargs": call("dnnlib.util", "EasyDict"), "augment_pipe": None}
        snapshot |= {name: persistent(name, state) for name, state in networks.items()}
        path = tmp_path / "network-snapshot.pkl"
        path.write_bytes(torch_file.Encoder().pickle(snapshot))
        return path

    yield write
    assert not (tmp_path / "ran").exists()


def draw_networks():
    generator = np.random.default_rng(0)
    keys = ("mapping.fc0.weight", "mapping.w_avg", "synthesis.b4.conv1.weight", "synthesis.b4.conv1.noise_const")
    draw = lambda: generator.normal(size=[3, 2]).astype(np.float32)  # noqa: E731
    return {name: {key: draw() for key in (*keys, "bias")} for name in ("G_ema", "D", "G")}


def test_nested_objects_become_state_dicts(write):
    networks = draw_networks()
    checkpoint = read_pytorch_file(write(networks))
    assert set(checkpoint) == {"G", "D", "G_ema", "augment_pipe", "training_set_kwargs"}
    for name, state in networks.items():
        assert checkpoint[name].class_name == f"torch_utils.persistence.{name}"
        found = state_dict(checkpoint[name])
        assert found.keys() == state.keys(), "neither what is None nor a buffer that is not saved"
        for key, array in state.items():
            np.testing.assert_array_equal(found[key], array)


@pytest.mark.thorough
def test_the_reference_network_in_such_a_file(write, reference):
    """The same port as of the state dicts."""
    checkpoint = reference("stylegan2_ada_small").checkpoint
    expected = FORMATS["stylegan2_ada"].port(checkpoint)
    found = FORMATS["stylegan2_ada"].port(read_pytorch_file(write(checkpoint)))
    assert found.settings == expected.settings
    for variable, other in zip(found.model.variables, expected.model.variables, strict=True):
        np.testing.assert_array_equal(variable, other)


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("dnnlib.tflib.network", "Network", r"a program of TensorFlow 1; .* and there save torch.save\(\{name: "),
        ("torch_utils.ops.upfirdn2d", "setup_filter", r"which weights do not need .*torch.save\(model.state_dict"),
    ],
)
def test_files_that_need_their_program_say_how_to_save_the_weights(torch_file, tmp_path, module, name, message):
    path = tmp_path / "network.pkl"
    path.write_bytes(torch_file.Encoder().pickle({"G_ema": torch_file.Call(module, name, is_new=True)}))
    with pytest.raises(ValueError, match=f"network.pkl was not read: .*{message}"):
        read_pytorch_file(path)


def test_an_object_without_its_state_is_damaged(torch_file, tmp_path):
    path = tmp_path / "network.pkl"
    for meta in ({}, {"class_name": "Generator"}, {"class_name": 3, "state": {}}, [1], None):
        call = torch_file.Call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)
        path.write_bytes(torch_file.Encoder().pickle({"G_ema": call}))
        with pytest.raises(ValueError, match="network.pkl was not read: "):
            read_pytorch_file(path)

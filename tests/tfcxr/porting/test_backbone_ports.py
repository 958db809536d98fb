"""What the formats of feature networks accept and refuse; their numbers are in test_backbone_references."""

import numpy as np
import pytest

from tfcxr.backbones.densenet import DenseNet
from tfcxr.backbones.efficientnet_lite import EfficientNetLite
from tfcxr.porting import FORMATS
from tfcxr.porting.densenet import XRV_LABELS, densenet_targets
from tfcxr.porting.efficientnet_lite import efficientnet_lite_targets
from tfcxr.porting.inert_pickle import PickledObject

TINY = {"growth_rate": 4, "block_config": (2, 3), "initial_filters": 8, "bottleneck_size": 2}
NORM = ".denselayer2.norm1.weight"


def make_state(channels=1, classes=18):
    """A checkpoint of a tiny DenseNet in PyTorch's layout, every number drawn."""
    model = DenseNet(**TINY, classes=classes, channels=channels)
    generator = np.random.default_rng(0)
    state = {}
    for key, target in densenet_targets(model).items():
        shape = tuple(target.variable.shape)
        shape = {4: (shape[-1:] + shape[-2:-1] + shape[:2]), 2: shape[::-1]}.get(len(shape), shape)
        state[key] = generator.uniform(0.1, 1.0, shape).astype(np.float32)
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = np.array(7)
    return state


def dotted(state):
    """As torchvision's published files have them."""
    renamed = {}
    for key, array in state.items():
        if ".denselayer" in key:
            for name in ("norm1", "norm2", "conv1", "conv2"):
                key = key.replace(f".{name}.", f".{name[:4]}.{name[4]}.")
        renamed[key] = array
    return renamed


def test_architecture_comes_from_shapes():
    ported = FORMATS["xrv_densenet121"].port(make_state(), input_size=0)
    assert {name: ported.settings[name] for name in TINY} == TINY
    assert (ported.settings["channels"], ported.settings["classes"]) == (1, 18)
    assert ported.settings["labels"] == list(XRV_LABELS) and ported.settings["op_thresholds"] == []
    assert ported.kind == "backbone" and not ported.model.trainable
    colours = FORMATS["torchvision_densenet121"].port(make_state(channels=3, classes=5))
    assert colours.model.channels == 3 and colours.model.classes == 5
    assert colours.model.value_range == "imagenet" and colours.model.input_size == 0


def test_weights_arrive_where_their_names_say():
    state = make_state()
    model = FORMATS["xrv_densenet121"].port(state).model
    layer = model.blocks[1][2]
    key = "features.denseblock2.denselayer3"
    np.testing.assert_array_equal(layer.conv2.kernel, state[f"{key}.conv2.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(layer.conv1.norm.moving_variance, state[f"{key}.norm2.running_var"])
    np.testing.assert_array_equal(model.transitions[0].norm.beta, state["features.transition1.norm.bias"])
    np.testing.assert_array_equal(model.classifier.kernel, state["classifier.weight"].T)
    assert model.input_size == 224


def test_dotted_names_and_absent_counters_give_the_same_network():
    state = make_state(channels=3)
    without = {key: array for key, array in state.items() if "num_batches" not in key}
    assert len(without) == len(state) - 13 and any(".norm.1." in key for key in dotted(state))
    ports = [
        FORMATS["torchvision_densenet121"].port(given) for given in (state, without, dotted(state), dotted(without))
    ]
    assert len({ported.transfers["densenet"].sha256 for ported in ports}) == 1
    ignored = [len(ported.transfers["densenet"].ignored) for ported in ports]
    assert ignored == [13, 0, 13, 0]
    with pytest.raises(ValueError, match="the same dense layers with dotted .* and plain names"):
        FORMATS["torchvision_densenet121"].port(state | dotted(state))


def test_operating_points_are_kept():
    points = np.full(18, 0.25, np.float32)
    points[2] = np.nan
    ported = FORMATS["xrv_densenet121"].port(make_state() | {"op_threshs": points})
    assert ported.settings["op_thresholds"] == [0.25, 0.25, None] + [0.25] * 15
    assert np.isnan(ported.model.op_thresholds[2])
    assert "operating points" in ported.transfers["densenet"].ignored["op_threshs"]
    with pytest.raises(ValueError, match=r"a number for each of 18 classes, got shape \(3,\)"):
        FORMATS["xrv_densenet121"].port(make_state() | {"op_threshs": points[:3]})


def test_a_pickled_module_gives_its_weights_and_labels():
    state = make_state(classes=2)
    tree = {"_modules": {}, "_parameters": {}, "_buffers": {}, "pathologies": ["Mass", ""]}
    tree["op_threshs"] = np.array([0.5, np.nan], np.float32)
    for key, array in state.items():
        *modules, name = key.split(".")
        node = tree
        for module in modules:
            empty = {"_modules": {}, "_parameters": {}, "_buffers": {}}
            node = node["_modules"].setdefault(module, PickledObject("torch.nn.modules.Module", empty)).state
        node["_buffers" if name.startswith(("running", "num_batches")) else "_parameters"][name] = array
    module = PickledObject("torchxrayvision.models.DenseNet", tree)
    ported = FORMATS["xrv_densenet121"].port(module)
    assert ported.transfers["densenet"].parameter_count == sum(a.size for a in state.values() if a.ndim)
    assert ported.settings["labels"] == ["Mass", ""]
    assert ported.settings["op_thresholds"] == [0.5, None]
    np.testing.assert_array_equal(ported.model.conv0.norm.gamma, state["features.norm0.weight"])


def without(name):
    return lambda state: state.pop(f"features.denseblock2{name}")


def reshaped(state):
    state["features.transition1.conv.weight"] = np.zeros([9, 16, 1, 1], np.float32)


def not_finite(state):
    state["features.norm5.bias"] = np.full_like(state["features.norm5.bias"], np.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(NORM), "1 missing: features.denseblock2.denselayer2.norm1.weight"),
        (lambda state: state.pop("features.conv0.weight"), "1 missing: features.conv0.weight"),
        (lambda state: state.update(extra=np.zeros(1)), "1 without a place: extra"),
        (reshaped, r"1 of another shape: features.transition1.conv.weight has shape \(9, 16, 1, 1\)"),
        (not_finite, "1 with values that are not finite: features.norm5.bias"),
    ],
    ids=["a layer's key", "first key", "extra", "shape", "nan"],
)
def test_checkpoints_that_do_not_fit_are_refused(change, message):
    state = make_state()
    change(state)
    with pytest.raises(ValueError, match=message):
        FORMATS["xrv_densenet121"].port(state)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["torchvision_vgg16", "torchvision_inception_v3", "pytorch_fid_inception_v3"])
def test_another_network_is_refused_with_its_keys(name):
    with pytest.raises(ValueError, match=r"\d+ missing: .* and \d+ more; \d+ without a place: features.conv0.weight"):
        FORMATS[name].port(make_state())


def test_vgg_leaves_the_classifier_out():
    generator = np.random.default_rng(0)
    state, inputs = {}, 3
    blocks = {(0, 2): 64, (5, 7): 128, (10, 12, 14): 256, (17, 19, 21, 24, 26, 28): 512}
    for numbers, filters in blocks.items():
        for number in numbers:
            kernel = np.broadcast_to(generator.normal(size=[1, 1, 3, 3]), [filters, inputs, 3, 3])
            state[f"features.{number}.weight"] = kernel.astype(np.float32)
            state[f"features.{number}.bias"] = np.zeros(filters, np.float32)
            inputs = filters
    state["classifier.6.bias"] = np.zeros(1000, np.float32)
    ported = FORMATS["torchvision_vgg16"].port(state)
    assert list(ported.transfers["vgg16"].ignored) == ["classifier.6.bias"]
    kernel = ported.model.convolutions["21"].kernel
    np.testing.assert_array_equal(kernel, state["features.21.weight"].transpose(2, 3, 1, 0))


def lite_state(**architecture):
    """A checkpoint of an EfficientNet-Lite in PyTorch's layout, every number drawn."""
    generator, state = np.random.default_rng(0), {}
    for key, target in efficientnet_lite_targets(EfficientNetLite(**architecture)).items():
        shape = tuple(target.variable.shape)
        if len(shape) == 4:
            shape = (shape[2], 1, *shape[:2]) if "_depthwise_conv" in key else (shape[3], shape[2], *shape[:2])
        state[key] = generator.uniform(0.1, 1.0, shape[::-1] if len(shape) == 2 else shape).astype(np.float32)
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = np.array(7)
    return state


def test_efficientnet_lite_of_any_width_and_depth():
    architecture = {"filters": (4, 3, 4, 5, 6, 7, 8, 9, 10), "repeats": (1, 2, 1, 3, 1, 2, 1), "classes": 5}
    state = lite_state(**architecture)
    ported = FORMATS["efficientnet_lite"].port(state)
    assert {name: ported.settings[name] for name in architecture} == architecture
    assert (ported.model.channels, ported.model.value_range) == (3, "signed")
    block = ported.model.blocks[4]
    np.testing.assert_array_equal(
        block.depthwise.kernel[..., 0], state["_blocks.4._depthwise_conv.weight"][:, 0].transpose(1, 2, 0)
    )
    np.testing.assert_array_equal(block.project.norm.moving_mean, state["_blocks.4._bn2.running_mean"])
    np.testing.assert_array_equal(ported.model.classifier.kernel, state["_fc.weight"].T)
    del state["_blocks.10._project_conv.weight"]
    with pytest.raises(ValueError, match="of the EfficientNet-Lite do not fit, so nothing was loaded"):
        FORMATS["efficientnet_lite"].port(state)

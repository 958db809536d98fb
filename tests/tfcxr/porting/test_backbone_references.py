"""Every reference number of the feature networks: made by the authors' programs with made-up weights.

Tolerance, of the largest magnitude: 1e-3 at most and 1e-5 in the mean; for input gradients 2e-2 and 1e-4.
"""

import gc

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.base import global_mean
from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.porting import FORMATS


class Reference:
    """One folder there: weights, images and its spec, and what the authors' program made of them."""

    def __init__(self, load, name):
        loaded = load(name)
        self.name = name
        self.spec = loaded.spec
        self.state = loaded.checkpoint
        self.images = {key: tf.constant(value.transpose(0, 2, 3, 1)) for key, value in loaded.inputs.items()}
        self.expected = loaded.expected
        self.left = set(self.expected)
        self.worst = {}

    def check(self, key, value):
        """Compares what we found, maps in Keras's order, with what they did."""
        expected = self.expected[key]
        value = np.asarray(value)
        if value.ndim == 4:
            value = value.transpose(0, 3, 1, 2)[:, : expected.shape[1]]
        assert value.shape == expected.shape, key
        self.left.remove(key)
        size = np.abs(expected).max()
        difference = np.abs(value - expected) / size
        largest, mean = (2e-2, 1e-4) if key.endswith("grad_features_mean") else (1e-3, 1e-5)
        ratio = max(difference.max() / largest, difference.mean() / mean)
        self.worst[key] = ratio
        assert ratio <= 1, (key, difference.max(), difference.mean())

    def check_all_were_compared(self):
        worst = max(self.worst, key=self.worst.get)
        print(f"{self.name}: {len(self.worst)} arrays, worst {self.worst[worst]:.3f} of tolerance ({worst})")
        assert not self.left


@pytest.fixture(scope="module")
def load(reference):
    """The shared fixture under a name of what it does; a compared folder is the `reference` here."""
    return reference


def check_densenet_maps(reference, model, size, image):
    """The mean of each part's map."""
    before = model.conv0.convolve(image, tf.convert_to_tensor(model.conv0.kernel))
    parts = {"conv0": before, "norm0": model.conv0.norm(before)} | dict(model.stages(image))
    for name, features in parts.items():
        key = f"size_{size}/pooled/{name}"
        if key in reference.expected:
            reference.check(key, global_mean(features))
    reference.check(f"size_{size}/features", parts["norm5"])


@pytest.mark.parametrize("name", ["xrv_densenet_tiny", pytest.param("xrv_densenet121", marks=pytest.mark.slow)])
def test_xrv_densenet_is_theirs(load, name):
    reference = Reference(load, name)
    spec = reference.spec
    thresholds = [np.nan if value is None else value for value in spec["op_threshs"]]
    ported = FORMATS["xrv_densenet121"].port(reference.state | {"op_threshs": np.float32(thresholds)}, input_size=0)
    model = ported.model
    assert ported.transfers["densenet"].ignored.pop("op_threshs")
    counters = sum(key.endswith("num_batches_tracked") for key in reference.state)
    assert ported.transfers["densenet"].parameter_count + counters == spec["parameters"]
    first, second, *others = spec["sizes"]
    for size in (first, second):
        image = reference.images[f"img_{size}"]
        check_densenet_maps(reference, model, size, image)
        with tf.GradientTape() as tape:
            tape.watch(image)
            features = global_mean(model.features(model.sized(image)))
        gradient = tape.gradient(features, image)
        norm = tf.norm(tf.reshape(gradient, [2, -1]), axis=1)
        if size == 224:
            gradient = tf.nn.avg_pool2d(gradient, 4, 4, "VALID")
        reference.check(f"size_{size}/features_mean", features)
        reference.check(f"size_{size}/features2", model.pooled(image))
        reference.check(f"size_{size}/logits", model(image))
        reference.check(f"size_{size}/grad_features_mean", gradient)
        reference.check(f"size_{size}/grad_features_mean_norm", norm)
    probability = tf.sigmoid(model(reference.images[f"img_{first}"]))
    reference.check(f"size_{first}/sigmoid", probability)
    # TorchXRayVision moves each class's operating point to .5; a class without one is unknown
    p, t = probability.numpy(), np.asarray(model.op_thresholds)
    moved = np.where(p < t, p / (2 * t), 1 - (1 - p) / (2 * (1 - t)))
    reference.check(f"size_{first}/op_norm", np.where(np.isnan(t), 0.5, moved))

    model.input_size = first
    for size in others:
        image, key = reference.images[f"img_{size}"], f"resized_{size}_to_{first}"
        resized = resize_antialiased(image, first)
        found = {
            "features2": model.pooled(image),
            "logits": model(image),
            "input__stats": np.stack([np.mean(resized, (1, 2, 3)), np.std(resized, (1, 2, 3))]),
            "input__crop": resized[:, 10:42, 10:42],
        }
        for part, value in found.items():
            reference.check(f"{key}/{part}", value)

    (key,) = (key for key in reference.left if key.startswith("train_mode/size_"))
    size = key.split("/")[1].removeprefix("size_")
    image = reference.images[f"img_{size}"]
    model.input_size = 0
    reference.check(key, global_mean(model.features(model.sized(image), training=True)))
    reference.check("train_mode/norm0_running_mean_after", model.conv0.norm.moving_mean)
    reference.check("train_mode/norm0_running_var_after", model.conv0.norm.moving_variance)
    reference.check_all_were_compared()


@pytest.mark.slow
def test_torchvision_densenet121_is_theirs(load):
    reference = Reference(load, "torchvision_densenet121")
    model = FORMATS["torchvision_densenet121"].port(reference.state).model
    for size in reference.spec["sizes"]:
        image = reference.images[f"img_{size}"]
        check_densenet_maps(reference, model, size, image)
        reference.check(f"size_{size}/logits", model(image))
    reference.check_all_were_compared()


@pytest.mark.slow
def test_vgg16_is_theirs(load):
    reference = Reference(load, "torchvision_vgg16_features")
    model = FORMATS["torchvision_vgg16"].port(reference.state).model
    for size in reference.spec["sizes"]:
        image = reference.images[f"img_{size}"]
        prefix = f"size_{size}/pooled/"
        names = [key.removeprefix(prefix) for key in reference.left if key.startswith(prefix)]
        for name, features in model.activations(image, names).items():
            reference.check(prefix + name, global_mean(features))
        reference.check(f"size_{size}/features", model(image))
    reference.check_all_were_compared()


@pytest.mark.slow
def test_torchvision_inception_is_theirs(load):
    gc.collect()  # of the networks before
    reference = Reference(load, "torchvision_inception_v3")
    ported = FORMATS["torchvision_inception_v3"].port(reference.state, input_size=0)
    model = ported.model
    assert any(key.startswith("AuxLogits") for key in ported.transfers["inception"].ignored)
    for size in reference.spec["sizes"]:
        image = reference.images[f"img_{size}"]
        for name, features in model.stages(image):
            reference.check(f"size_{size}/pooled/{name}", global_mean(features))
        reference.check(f"size_{size}/pooled/avgpool", model.pooled(image))
        reference.check(f"size_{size}/pooled/fc", model(image))
        reference.check(f"size_{size}/logits", model(image))
    reference.check_all_were_compared()


@pytest.mark.slow
def test_pytorch_fid_inception_is_theirs(load):
    gc.collect()
    reference = Reference(load, "pytorch_fid_inception_v3")
    model = FORMATS["pytorch_fid_inception_v3"].port(reference.state).model
    ends = {"maxpool1": 0, "maxpool2": 1, "Mixed_6e": 2}  # of their blocks
    for size in reference.spec["sizes"]:
        image = model.sized(reference.images[f"img_{size}"])
        block = layer = 0
        for name, features in model.stages(image):
            mean = global_mean(features)
            if size == 299:
                reference.check(f"size_{size}/pooled/{block}.{layer}", mean)
            layer += 1
            if name in ends:
                reference.check(f"size_{size}/block{block}_pooled", mean)
                block, layer = block + 1, 0
        features = model.pooled(reference.images[f"img_{size}"])
        for key in ["block3_pooled", "features_2048"] + ["pooled/3.3"] * (size == 299):
            reference.check(f"size_{size}/{key}", features)
        reference.check(f"size_{size}/network_input__crop", model.network_input(image)[:, 100:132, 100:132])
    model.input_size = 0
    reference.check("no_resize/features_2048", model.pooled(reference.images["img_512"]))
    reference.check_all_were_compared()

"""Maps of a frozen network at several depths: which, of what size, with what gradient, and what is refused."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.backbones.frozen_maps import open_frozen_maps

IMAGE = tf.tanh(tf.random.stateless_normal([2, 32, 32, 1], [0, 1]))


def halving_network(size=64, channels=3, depths=5, nested=False):
    """Halves the size with each of `depths` convolutions, each followed by a ReLU."""
    image = keras.Input([size, size, channels])
    features = image
    for depth in range(depths):
        features = keras.layers.Conv2D(3 + depth, 3, 2, "same", name=f"convolution{depth}")(features)
        features = keras.layers.ReLU(name=f"relu{depth}")(features)
    trunk = keras.Model(image, features, name="trunk")
    if nested:
        image = keras.Input([size, size, channels])
        features = trunk(image)
    flat = keras.layers.Flatten()(features)
    return keras.Model(image, keras.layers.Dense(2, name="logits")(flat)), trunk


@pytest.fixture(params=[False, True], ids=["flat", "nested"])
def network(request, tmp_path):
    model, trunk = halving_network(nested=request.param)
    model.save(tmp_path / "net.keras")
    return tmp_path / "net.keras", trunk


def test_the_last_layer_at_the_four_coarsest_resolutions(network):
    path, trunk = network
    maps = open_frozen_maps(str(path), image_size=32)
    assert maps.size == 64, "the network's own input size"
    assert maps.names == ("relu0", "relu1", "relu2", "relu3"), "relu4 has 2 px"
    assert maps.shapes == ((32, 3), (16, 4), (8, 5), (4, 6))
    seen = tf.repeat(resize_antialiased(IMAGE, 64), 3, axis=-1)
    for name, found in zip(maps.names, maps(IMAGE), strict=True):
        expected = keras.Model(trunk.inputs, trunk.get_layer(name).output)(seen)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_layers_values_and_size_by_option(network):
    path, trunk = network
    maps = open_frozen_maps(f"{path}:layers=relu2,convolution0:values=unit", image_size=32, size=32)
    assert maps.names == ("convolution0", "relu2"), "from fine to coarse"
    assert maps.shapes == ((16, 3), (4, 5)), "at 32 px, where the dense layer behind would not fit"
    seen = tf.repeat((IMAGE + 1.0) / 2.0, 3, axis=-1)
    fine = trunk.get_layer("convolution0")(seen)
    np.testing.assert_allclose(maps(IMAGE)[0], fine, atol=1e-5)


def test_layers_that_only_nearly_halve_are_one_level(tmp_path):
    image = keras.Input([32, 32, 1])
    features = keras.layers.Conv2D(2, 3, 2, name="halved")(image)  # 15 px
    features = keras.layers.Conv2D(2, 3, name="cropped")(features)  # 13 px
    features = keras.layers.Conv2D(2, 3, 2, name="deep")(features)  # 6 px
    keras.Model(image, features).save(tmp_path / "net.keras")
    assert open_frozen_maps(str(tmp_path / "net.keras"), 32).names == ("cropped", "deep")


def test_batch_normalization_uses_its_running_statistics(tmp_path):
    image = keras.Input([8, 8, 1])
    normalize = keras.layers.BatchNormalization(name="normalize")
    model = keras.Model(image, normalize(image))
    normalize.moving_mean.assign([2.0])
    model.save(tmp_path / "net.keras")
    maps = open_frozen_maps(str(tmp_path / "net.keras"), 8)
    np.testing.assert_allclose(maps(tf.zeros([1, 8, 8, 1]))[0], tf.fill([1, 8, 8, 1], -2.0), rtol=1e-2)


def test_bfloat16(network):
    path, _ = network
    exact, fast = (open_frozen_maps(str(path), 32, precision=name)(IMAGE) for name in ("float32", "mixed_bfloat16"))
    assert {found.dtype for found in fast} == {tf.bfloat16}
    for expected, found in zip(exact, fast, strict=True):
        np.testing.assert_allclose(tf.cast(found, tf.float32), expected, atol=0.03 * np.abs(expected).max())


class TwoMaps(tf.Module):
    def __init__(self, size):
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal([3, 3, 1, 2], [3, 4]))
        spec = tf.TensorSpec([None, size, size, 1], tf.float32, "image")
        self.maps = tf.function(self._maps, input_signature=[spec], autograph=False)

    def _maps(self, image):
        fine = tf.nn.conv2d(image, self.kernel, 2, "SAME")
        return {"coarse": fine[:, ::2, ::2], "fine": fine, "features": tf.reduce_mean(fine, axis=[1, 2])}


@pytest.mark.parametrize("size", [None, 16])
def test_the_outputs_of_a_saved_model(tmp_path, size):
    module = TwoMaps(size)
    tf.saved_model.save(module, str(tmp_path / "net" / "1"), signatures=module.maps)
    maps = open_frozen_maps(str(tmp_path / "net"), image_size=32)
    assert maps.names == ("fine", "coarse")
    assert maps.size == (size or 32) and maps.parameters == 18
    expected = module.maps(resize_antialiased(IMAGE, maps.size))
    np.testing.assert_allclose(maps(IMAGE)[1], expected["coarse"], atol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(IMAGE)
        total = tf.reduce_sum(maps(IMAGE)[0])
    assert np.abs(tape.gradient(total, IMAGE)).max() > 0
    assert open_frozen_maps(f"{tmp_path / 'net'}:layers=coarse", 32).names == ("coarse",)
    if size:
        with pytest.raises(ValueError, match="takes images of 16 px alone, got critic_size=24"):
            open_frozen_maps(str(tmp_path / "net"), 32, size=24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{path}:layers=relu9", "net.keras has no layer 'relu9'; did you mean 'relu"),
        ("{path}:layers=relu4", r"layer 'relu4' gives \[2, 2, 7\] values per image at 64 px, expected a square map"),
        ("{path}:layers=logits", r"layer 'logits' gives \[2\] values per image"),
        ("{path}:layer=relu1", "'layer=relu1' is no option of a frozen network; did you mean 'layers'"),
        ("{path}:values=sined", "values=sined is unknown; did you mean 'signed'"),
        ("{folder}/small.keras", "small.keras is too small a network at 6 px: it has no square feature map of at"),
        ("{folder}/two.keras", "two.keras takes images of 2 channels; they must be 1"),
        ("{folder}/code.keras", "code.keras needs keras.layers.Lambda, which is not Keras's own or could run code"),
        ("{folder}/damaged.keras", "damaged.keras cannot be loaded as a Keras model"),
        ("{folder}/none.keras", "none.keras is neither a .keras file nor the folder of a SavedModel"),
    ],
)
def test_what_cannot_be_a_critic(tmp_path, text, message):
    halving_network()[0].save(tmp_path / "net.keras")
    halving_network(6, depths=2)[1].save(tmp_path / "small.keras")
    halving_network(channels=2)[1].save(tmp_path / "two.keras")
    image = keras.Input([8, 8, 1])
    keras.Model(image, keras.layers.Lambda(lambda x: x)(image)).save(tmp_path / "code.keras")
    damage(tmp_path / "net.keras", tmp_path / "damaged.keras")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_frozen_maps(text.format(path=tmp_path / "net.keras", folder=tmp_path), image_size=32)


def damage(source, target):
    """The same archive with half of its weights' file."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as damaged:
        for name in archive.namelist():
            content = archive.read(name)
            damaged.writestr(name, content[: len(content) // 2] if name.endswith(".h5") else content)


def test_a_saved_model_without_maps(tmp_path):
    class Means(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "image")])
        def __call__(self, image):
            return {"features": tf.reduce_mean(image, axis=[1, 2])}

    tf.saved_model.save(module := Means(), str(tmp_path / "net"), signatures=module.__call__)
    with pytest.raises(ValueError, match="it has no square feature map of at least 4 px"):
        open_frozen_maps(str(tmp_path / "net"), 32)

"""A frozen network as critic of cgan, acgan and stylegan2: what learns, what stays, resume, replicas, export."""

import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config, to_plain
from tfcxr.data.pipeline import to_pixels, training_batches
from tfcxr.models import MODELS
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.training.loop import train
from tfcxr.training.run_folder import RunConfig

TINY = {
    "cgan": {"latent_size": 8, "generator_filters": 32},
    "acgan": {"latent_size": 8, "generator_filters": 32},
    "stylegan2": {"latent_size": 8, "style_size": 8, "channel_base": 128, "channel_max": 8, "path_length_weight": 0.0},
}
# nothing in the generator compares the images of a batch
ALONE = {"cgan": {"normalization": "none"}, "acgan": {"normalization": "layer"}, "stylegan2": {}}
MARKS = {"cgan": (), "acgan": pytest.mark.thorough, "stylegan2": pytest.mark.slow}
NAMES = [pytest.param(name, marks=marks) for name, marks in MARKS.items()]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A .keras file: 24 px, three channels, maps of 12 and 6 px in a nested model, then a head."""
    keras.utils.set_random_seed(1)
    image = keras.Input([24, 24, 3])
    fine = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="fine")(image)
    coarse = keras.layers.Conv2D(5, 3, strides=2, padding="same", name="coarse")(fine)
    nested = keras.Model(image, keras.layers.BatchNormalization(name="normalized")(coarse), name="nested")
    outer = keras.Input([24, 24, 3])
    pooled = keras.layers.GlobalAveragePooling2D()(nested(outer))
    path = tmp_path_factory.mktemp("backbones") / "net.keras"
    keras.Model(outer, keras.layers.Dense(2)(pooled)).save(path)
    return path


def settings_of(name, backbone, **settings):
    base = {"image_size": 32, "critic_backbone": str(backbone), "critic_width": 4}
    return MODELS[name].prepare_settings(TINY[name] | base | settings, lambda path: None)


def make(name, backbone, **settings):
    config = make_config(MODELS[name].config_class, settings_of(name, backbone, **settings))
    return MODELS[name](config, seed=3)


def run_steps(model, data_dir, start, stop, strategy=None, callbacks=()):
    batches = training_batches(data_dir, "train", 4, seed=5, start_step=start)
    train(model, batches, start, stop, list(callbacks), strategy or tf.distribute.get_strategy())


def state_of(model):
    return {key: np.asarray(variable).copy() for key, variable in model.checkpoint_variables().items()}


class Snapshots(keras.callbacks.Callback):
    """Everything that training changes, before the first step and after each."""

    def __init__(self, model):
        super().__init__()
        self._model, self.states = model, [state_of(model)]

    def on_train_batch_end(self, step, logs):
        self.states.append(state_of(self._model))


@pytest.fixture(scope="module", params=NAMES)
def four_steps(request, backbone, disc_records):
    """A model that was trained four steps, its states, and what was frozen before."""
    model = make(request.param, backbone)
    frozen = [np.asarray(variable).copy() for variable in model.frozen_parts()]
    snapshots = Snapshots(model)
    run_steps(model, disc_records, 0, 4, callbacks=[snapshots])
    return request.param, model, snapshots.states, frozen


@pytest.mark.thorough
def test_heads_and_generator_learn_and_the_network_and_its_projections_stay(four_steps):
    _, model, states, frozen = four_steps
    paths = {key: getattr(variable, "path", key) for key, variable in model.checkpoint_variables().items()}
    trained = {v.path for v in (*model.generator.trainable_variables, *model.discriminator.trainable_variables)}
    still = {paths[key] for key, value in states[0].items() if np.array_equal(value, states[2][key])}
    assert all(path.endswith("bias") for path in still & trained), "a bias before batch normalization has no effect"
    projections = {variable.path for variable in model.discriminator.projection.variables}
    assert len(projections) == 3 and projections <= still
    assert len(frozen) == 8 and all(map(np.array_equal, frozen, model.frozen_parts()))
    shapes = {tuple(value.shape) for value in states[0].values()}
    assert not shapes & {(3, 3, 3, 6), (3, 3, 6, 5)}, "the frozen kernels are in no checkpoint"
    assert all(np.isfinite(float(mean.result())) for mean in model.metrics)


@pytest.mark.thorough
def test_two_and_two_steps_are_four(four_steps, backbone, disc_records):
    name, _, states, _ = four_steps
    resumed = make(name, backbone)
    for key, variable in resumed.checkpoint_variables().items():
        variable.assign(states[2][key])
    run_steps(resumed, disc_records, 2, 4)
    for key, value in state_of(resumed).items():
        np.testing.assert_array_equal(value, states[4][key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_one_and_two_replicas_take_the_same_step(name, backbone, disc_records, two_replicas):
    """Tolerances and epsilon as in test_contract.py."""
    states = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = make(name, backbone, ema_decay=0.5, **ALONE[name])
        for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
            optimizer.epsilon = 1e-2
        run_steps(model, disc_records, 0, 2, strategy)
        states.append({key: value for key, value in state_of(model).items() if not key.startswith("metrics/")})
    for key, single in states[0].items():
        largest = float(np.abs(single).max(initial=0.0))
        atol = 5e-4 * largest if "_optimizer/" in key else 1e-6 * max(1.0, largest)
        np.testing.assert_allclose(states[1][key], single, rtol=1e-4, atol=max(atol, 1e-6), err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_bfloat16_step_is_close(name, backbone, disc_records):
    means = []
    for precision in ("float32", "mixed_bfloat16"):
        model = make(name, backbone, precision=precision)
        maps = model.discriminator.maps(tf.zeros([1, 32, 32, 1]))
        assert maps[0].dtype == ("bfloat16" if precision == "mixed_bfloat16" else "float32")
        run_steps(model, disc_records, 0, 1)
        means.append({mean.name: float(mean.result()) for mean in model.metrics})
    for term, value in means[0].items():
        assert means[1][term] == pytest.approx(value, rel=0.05, abs=0.02), term


@pytest.mark.thorough
def test_no_gradient_of_frozen_weights_and_one_pass_back_for_the_generator(backbone, disc_records):
    model = make("cgan", backbone)
    batch = next(iter(training_batches(disc_records, "train", 4, seed=5)))
    graph = tf.function(model.train_step, autograph=False).get_concrete_function(batch).graph
    live = live_operations(graph)
    kernels = {(3, 3, 3, 6), (3, 3, 6, 5)}
    found = {"Conv2DBackpropFilter": [], "Conv2DBackpropInput": []}
    for operation in live:
        if operation.type == "Conv2DBackpropFilter":
            found[operation.type].append(kernel_shape(operation))
        if operation.type == "Conv2DBackpropInput":
            found[operation.type].append(tuple(operation.inputs[1].shape))
    assert not kernels & set(found["Conv2DBackpropFilter"])
    frozen = [kernel for kernel in found["Conv2DBackpropInput"] if kernel in kernels]
    assert sorted(frozen) == sorted(kernels), "once, for the generator"


def kernel_shape(operation):
    """Of a Conv2DBackpropFilter: its second input holds it, mostly as the shape of another tensor."""
    sizes = operation.inputs[1]
    is_of_tensor = sizes.op.type in ("Shape", "ShapeN")
    return tuple(sizes.op.inputs[sizes.value_index].shape if is_of_tensor else tf.get_static_value(sizes))


def live_operations(graph):
    """What a function's graph runs: everything that outputs and changed variables depend on."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = {}
    while waiting:
        operation = waiting.pop()
        if operation.name not in seen:
            seen[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return list(seen.values())


@pytest.mark.thorough
@pytest.mark.parametrize("name", TINY)
def test_an_export_draws_and_scores_without_the_file(name, backbone, disc_records, tmp_path):
    copy = tmp_path / "copy.keras"
    copy.write_bytes(backbone.read_bytes())
    model = make(name, copy, precision="mixed_bfloat16" if name == "cgan" else "float32")
    run_steps(model, disc_records, 0, 1)
    labels = ("NORMAL", "PNEUMONIA")
    run = RunConfig(name, to_plain(model.config), labels, seed=3, batch_size=4, steps=1, data={"name": "discs"})
    version = export_model(model, run, tmp_path / name, {"step": 1})
    copy.unlink()
    loaded, label = LoadedModel(version), np.eye(2, dtype=np.float32)[[0, 1, 1]]
    drawn = loaded.generate(np.array([7, 8, 9]), label)
    expected = to_pixels(model.generate(tf.constant([7, 8, 9], tf.int64), tf.constant(label))).numpy()
    assert np.abs(drawn.astype(int) - expected).max() <= (8 if name == "cgan" else 1), "bfloat16 rounds"
    scores = loaded.score(drawn, label)
    realism, _ = model.score(tf.constant(drawn / np.float32(127.5) - 1, tf.float32), tf.constant(label))
    np.testing.assert_allclose(scores, tf.sigmoid(realism)[:, 0], atol=0.02)
    assert scores.std() > 0
    card = (version / "README.md").read_text()
    assert "`critic_backbone`" in card and model.config.critic_sha256 in card


class TwoMaps(tf.Module):
    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal([3, 3, 1, 4], [1, 2]), name="stored_kernel")

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "image")], autograph=False)
    def maps(self, image):
        fine = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 2, "SAME"))
        return {"fine": fine, "coarse": tf.nn.avg_pool2d(fine, 2, 2, "VALID")}


@pytest.mark.thorough
def test_a_saved_model_trains_and_is_exported_with_the_model(disc_records, tmp_path):
    module = TwoMaps()
    tf.saved_model.save(module, str(tmp_path / "maps"), signatures=module.maps)
    model = make("cgan", tmp_path / "maps")
    assert model.discriminator.maps.names == ("fine", "coarse") and model.discriminator.maps.size == 32
    run_steps(model, disc_records, 0, 1)
    labels = ("NORMAL", "PNEUMONIA")
    run = RunConfig("cgan", to_plain(model.config), labels, seed=3, batch_size=4, steps=1, data={"name": "discs"})
    version = export_model(model, run, tmp_path / "cgan", {"step": 1})
    shutil.rmtree(tmp_path / "maps")
    label = np.eye(2, dtype=np.float32)
    drawn = LoadedModel(version).generate(np.array([7, 8]), label)
    realism, _ = model.score(tf.constant(drawn / np.float32(127.5) - 1, tf.float32), tf.constant(label))
    np.testing.assert_allclose(LoadedModel(version).score(drawn, label), tf.sigmoid(realism)[:, 0], atol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("name", TINY)
def test_labels_are_told_to_each_head_or_predicted_by_them(name, backbone):
    model = make(name, backbone)
    image = tf.tanh(tf.random.stateless_normal([2, 32, 32, 1], [0, 1]))
    one, other = tf.constant([[1.0, 0.0]] * 2), tf.constant([[0.0, 1.0]] * 2)
    logits, labels = model.discriminator.scores(image, model.condition(one))
    assert logits.shape == (2, 2) and logits.dtype == tf.float32, "one logit per head"
    if name == "acgan":
        assert labels.shape == (2, 2)
    else:
        assert labels is None
        others, _ = model.discriminator.scores(image, model.condition(other))
        assert (np.abs(logits - others) > 1e-6).all(), "every head reads the label"


@pytest.mark.thorough
def test_each_image_is_scored_for_itself(backbone):
    model = make("stylegan2", backbone)
    image = tf.tanh(tf.random.stateless_normal([3, 32, 32, 1], [0, 1]))
    label = tf.one_hot([0, 1, 0], 2)
    np.testing.assert_allclose(
        model.score(image, label)[0][1:2], model.score(image[1:2], label[1:2])[0], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", ["cgan", pytest.param("acgan", marks=pytest.mark.thorough)])
def test_each_head_can_be_told_how_much_a_batch_varies(name, backbone):
    image = tf.tanh(tf.random.stateless_normal([4, 32, 32, 1], [0, 1]))
    same, condition = tf.repeat(image[:1], 4, axis=0), tf.one_hot([0] * 4, 2)
    differences = {}
    for compares in (False, True):
        model = make(name, backbone, minibatch_stddev=compares)
        (varied, _), (alike, _) = (model.discriminator.scores(batch, condition) for batch in (image, same))
        differences[compares] = np.abs(varied[0] - alike[0])
        assert model.config.compares_images == compares
    assert (differences[False] < 1e-5).all() and (differences[True] > 1e-4).all(), "in every head"


def test_the_log_says_what_is_frozen_and_what_learns(backbone):
    """Frozen: 3*3*3*6 + 6, 3*3*6*5 + 5, and 4 * 5 of the batch normalization = 463."""
    text = make("cgan", backbone).critic_text()
    assert text.startswith(
        f"the discriminator sees 24 px through {backbone}: fine (12 px), normalized (6 px); 463 froz"
    )
    assert "Judge the images by another network" in text


@pytest.mark.thorough
def test_the_seed_decides_the_projections(backbone):
    def kernels(seed):
        model = MODELS["cgan"](make_config(MODELS["cgan"].config_class, settings_of("cgan", backbone)), seed=seed)
        return [variable.numpy() for variable in model.discriminator.projection.variables]

    assert all(map(np.array_equal, kernels(3), kernels(3)))
    assert not any(map(np.array_equal, kernels(3), kernels(4)))


def test_defaults_of_a_run_with_a_backbone(backbone):
    found = settings_of("cgan", backbone)
    assert (found["adversarial_loss"], found["r1_gamma"], found["dropout"]) == ("hinge", 0.0, 0.0)
    assert found["augmentations"] == ("brightness", "contrast", "translation", "cutout")
    assert len(found["critic_sha256"]) == 64
    assert settings_of("cgan", backbone, augmentations=(), adversarial_loss="log")["adversarial_loss"] == "log"
    assert "augmentations" not in settings_of("stylegan2", backbone, adaptive_augmentation=True)
    assert "dropout" not in settings_of("stylegan2", backbone)
    plain = {"latent_size": 8}
    assert MODELS["cgan"].prepare_settings(plain, lambda path: None) == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r1_gamma": 0.1}, "a discriminator with critic_backbone has no r1_gamma, got 0.1; set r1_gamma=0"),
        ({"dropout": 0.3}, "has no dropout, got 0.3; set dropout=0"),
        ({"critic_size": -1}, "critic_size must be at least 0, got -1"),
        ({"critic_width": 0}, "critic_width must be at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be(backbone, settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(MODELS["cgan"].config_class, settings_of("cgan", backbone) | settings)


@pytest.mark.parametrize(("name", "value"), [("critic_size", 64), ("critic_beside", True)])
def test_settings_of_a_backbone_alone_have_no_effect(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} has no effect without critic_backbone"):
        MODELS["cgan"].config_class(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_own_discriminator_and_heads_learn_side_by_side(name, backbone, disc_records):
    model = make(name, backbone, critic_beside="true")
    own, heads = model.discriminator.own, model.discriminator.heads
    assert model.config.adversarial_loss == "log" and model.config.augmentations == (), "as without a backbone"
    assert model.config.critic_sha256 and model.config.r1_gamma != 0
    image = tf.tanh(tf.random.stateless_normal([2, 32, 32, 1], [0, 1]))
    label = tf.one_hot([0, 1], 2)
    condition = model.condition(label)
    logits, labels = model.discriminator.scores(image, condition)
    assert logits.shape == (2, 4), "the own one for each of two heads"
    np.testing.assert_array_equal(logits[:, 0], logits[:, 1])
    theirs, _ = heads.scores(image, condition)
    np.testing.assert_allclose(logits[:, 2:], theirs, rtol=1e-5, atol=1e-6)
    assert (labels is None) == (name != "acgan")
    np.testing.assert_allclose(model.score(image, label)[0][:, 0], tf.reduce_mean(logits, axis=1), rtol=1e-6)
    before, frozen = state_of(model), [np.asarray(variable).copy() for variable in model.frozen_parts()]
    run_steps(model, disc_records, 0, 1)
    assert all(map(np.array_equal, frozen, model.frozen_parts()))
    weights = {variable.path for network in (own, heads) for variable in network.trainable_variables}
    after, variables = state_of(model), model.checkpoint_variables()
    moved = {variables[key].path for key, value in after.items() if not np.array_equal(value, before[key])}
    assert len(weights & moved) > 0.9 * len(weights), "all but biases that have no effect"
    assert {weight.path for weight in own.trainable_variables} & moved
    assert {weight.path for weight in heads.trainable_variables} & moved
    assert "also through" in model.critic_text()


def test_augmentations_of_stylegan2_are_of_one_kind():
    with pytest.raises(ValueError, match="choose augmentations or adaptive_augmentation, not both"):
        MODELS["stylegan2"].config_class(augmentations=("cutout",), adaptive_augmentation=True)


def test_another_file_than_at_the_start_is_refused(backbone, tmp_path):
    changed = tmp_path / "changed.keras"
    changed.write_bytes(backbone.read_bytes())
    settings = settings_of("cgan", changed)
    image = keras.Input([16, 16, 1])
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(changed)
    with pytest.raises(ValueError, match="changed.keras is another file than when this run began .* put the file back"):
        MODELS["cgan"](make_config(MODELS["cgan"].config_class, settings))


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="nowhere.keras is neither a .keras file nor the folder"):
        settings_of("cgan", pathlib.Path("nowhere.keras"))

"""What every GAN in `MODELS` must do; a new model is tested here without a line of its own."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.data.pipeline import to_pixels, training_batches
from tfcxr.models import MODELS
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.training.loop import train
from tfcxr.training.run_folder import RunConfig

VARIANTS = {name: model.config_class.tiny_settings() for name, model in MODELS.items()}
GENERATORS = [name for name, model in MODELS.items() if model.kind == "generator"]
LABELLED = [name for name in GENERATORS if MODELS[name].config_class.reads_labels({"conditional": True})]
QUICK = ("vanilla_gan",)  # of the default suite; .ci/run tests every model
is_slow = lambda name: MODELS[name].config_class.traces_slowly  # noqa: E731


def cases(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough) for name in names]


def marks(name, index):
    if index or is_slow(name):
        return pytest.mark.slow
    return () if name in QUICK else pytest.mark.thorough


# variants in which no image depends on others of its batch; all but the first take minutes together
REPLICATED = [
    pytest.param(name, settings, marks=marks(name, index), id=f"{name}-{index}")
    for name, (first, *others) in VARIANTS.items()
    for index, settings in enumerate(others or [first])
]
STRATEGY = tf.distribute.get_strategy


def make_gan(name, **settings):
    gan_class = MODELS[name]
    config = gan_class.config_class(**(VARIANTS[name][0] | settings))
    return gan_class(config, seed=3)


def values(network):
    return [variable.numpy() for variable in network.trainable_variables]


def open_batches(model, data_dir, batch_size=4, start=0):
    shrink = max(1, 32 // model.config.stages(1)[-1].image_size)
    rows = batch_size * model.config.batches_per_step
    return training_batches(data_dir, "train", rows, seed=5, start_step=start, shrink=shrink)


def run_steps(model, data_dir, start, stop, batch_size=4, strategy=None, callbacks=()):
    batches = open_batches(model, data_dir, batch_size, start)
    train(model, batches, start, stop, list(callbacks), strategy or STRATEGY())


@pytest.fixture(params=cases(MODELS))
def name(request):
    return request.param


@pytest.fixture(params=cases(GENERATORS))
def generator(request):
    return request.param


class Snapshots(keras.callbacks.Callback):
    """Everything that training changes, and the logged means, before the first step and after each."""

    def __init__(self, model):
        super().__init__()
        self._model = model
        self.states, self.logs = [self._state()], [{}]

    def on_train_batch_end(self, step, logs):
        self.states.append(self._state())
        self.logs.append(dict(logs))

    def _state(self):
        owners = {"generator": self._model.generator, "discriminator": self._model.discriminator}
        state = {key: variable.numpy() for key, variable in self._model.checkpoint_variables().items()}
        trained = {f"{owner}: {v.path}": v.numpy() for owner, net in owners.items() for v in net.trainable_variables}
        return state | {"trained": trained}


@pytest.fixture(scope="module", params=cases(MODELS))
def four_steps(request, disc_records):
    """A model that was trained four steps in one go, and what it was like after each."""
    model = make_gan(request.param)
    snapshots = Snapshots(model)
    run_steps(model, disc_records, 0, 4, callbacks=[snapshots])
    return request.param, model, snapshots


def test_one_step_moves_each_network_and_counts_once(four_steps):
    _, model, snapshots = four_steps
    before, after = snapshots.states[:2]
    moved = {key.split("/")[0] for key in before if key != "trained" and not np.array_equal(before[key], after[key])}
    assert {"generator", "discriminator", "ema_generator"} <= moved
    assert model.ema_generator.trainable_variables == [], "the averaged generator is moved by averaging alone"
    assert int(model.step) == 4
    assert int(model.discriminator_optimizer.iterations) == 4 * model.config.batches_per_step


def test_every_weight_gets_a_gradient(four_steps):
    _, model, snapshots = four_steps
    before, after = (snapshots.states[step]["trained"] for step in (0, 2))
    still = {path for path, value in before.items() if np.array_equal(value, after[path])}
    if hasattr(model.generator, "weights_of"):  # a model that grows keeps the layers of lower sizes, which rest
        networks, size = {"generator": model.generator, "discriminator": model.discriminator}, model.config.image_size
        used = {f"{name}: {v.path}" for name, net in networks.items() for v in net.weights_of(size, is_fading=False)}
        assert before.keys() - used == {path for path in still if "_image_" in path} != set()
        still &= used
    # a bias before batch normalization is taken out again by it
    assert all(path.endswith("bias") for path in still)


def test_two_and_two_steps_are_four(four_steps, disc_records):
    name, whole, snapshots = four_steps
    resumed = make_gan(name)
    for key, variable in resumed.checkpoint_variables().items():
        variable.assign(snapshots.states[2][key])
    run_steps(resumed, disc_records, 2, 4)
    for key, variable in whole.checkpoint_variables().items():
        np.testing.assert_array_equal(variable.numpy(), resumed.checkpoint_variables()[key].numpy(), err_msg=key)


@pytest.mark.parametrize(("name", "settings"), REPLICATED)
def test_one_and_two_replicas_take_the_same_step(name, settings, disc_records, two_replicas):
    """Sums over 2 + 2 and over 4 rows round differently: gradients agree to about 1e-6 of their size.

    Adam's first step divides each gradient by its own size, so a gradient that is rounding noise around zero may
    move its weight by the whole learning rate either way; hence an epsilon far above that noise, and a tolerance of
    1e-5 of the learning rate's step. Batch statistics are a replica's own, so batch normalization is left out.
    """
    states = []
    for strategy in (STRATEGY(), two_replicas):
        with strategy.scope():
            model = make_gan(name, **(settings | {"ema_decay": 0.5}))
        for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
            optimizer.epsilon = 1e-2
        run_steps(model, disc_records, 0, 2, strategy=strategy)
        weights = {k: np.asarray(v) for k, v in model.checkpoint_variables().items() if not k.startswith("metrics/")}
        states.append(weights | {mean.name: np.asarray(mean.result()) for mean in model.metrics})
    assert strategy.num_replicas_in_sync == 2
    for key, single in states[0].items():
        largest = float(np.abs(single).max(initial=0.0))
        atol = 1e-6 * max(1.0, largest)  # a sum's rounding grows with its largest term
        if "_optimizer/" in key:
            # Adam's moments are sums of gradients; on an Intel Xeon those of a pggan with two critic steps differed by
            # up to 2e-4 of the largest, the same in every run
            atol = max(atol, 5e-4 * largest)
        np.testing.assert_allclose(states[1][key], single, rtol=1e-4, atol=atol, err_msg=key)


def test_bfloat16_step_is_finite_and_close(four_steps, disc_records):
    name, _, snapshots = four_steps
    model = make_gan(name, precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32", "the process keeps its own policy"
    assert all(variable.dtype == "float32" for variable in model.generator.trainable_variables)
    run_steps(model, disc_records, 0, 1)
    losses = {mean.name: float(mean.result()) for mean in model.metrics}
    for term, value in snapshots.logs[1].items():
        assert losses[term] == pytest.approx(value, rel=0.05, abs=0.02), term


def test_same_seed_gives_the_same_picture_in_any_batch(generator):
    model = make_gan(generator)
    label = tf.one_hot([0, 1, 0, 1, 0], 2)[:, : model.config.label_count]
    seed = tf.constant([11, 12, 13, 14, 15], tf.int64)
    together = model.generate(seed, label)
    size = model.config.image_size
    assert together.shape == (5, size, size, 1)
    assert -1 <= tf.reduce_min(together) <= tf.reduce_max(together) <= 1
    alone = model.generate(seed[3:4], label[3:4])
    np.testing.assert_allclose(alone, together[3:4], atol=1e-5)  # without AVX-512, sums of batches differ by 5e-6
    assert not np.allclose(together[0], together[2], atol=1e-4), "other seeds, other pictures"


def test_each_image_has_a_truncation_of_its_own(generator):
    model, seed = make_gan(generator), tf.constant([11, 12, 13], tf.int64)
    label = tf.one_hot([0, 1, 0], 2)[:, : model.config.label_count]
    together = model.generate(seed, label, tf.constant([[0.5], [1.0], [0.2]]))
    for row, truncation in enumerate((0.5, 1.0, 0.2)):
        np.testing.assert_array_equal(model.generate(seed, label, truncation)[row], together[row])


def test_same_seed_of_weights_gives_the_same_model(name):
    for first, second in zip(values(make_gan(name).generator), values(make_gan(name).generator), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else marks(name, index)) for index, name in enumerate(MODELS)],
)
def test_keras_fit_trains_it_too(name, disc_records):
    model = make_gan(name)
    history = model.fit(open_batches(model, disc_records), epochs=2, steps_per_epoch=2, verbose=0)
    assert int(model.step) == 4
    assert all(np.isfinite(losses).all() for losses in history.history.values())


def test_sizes_it_cannot_make_are_refused(name):
    smallest = MODELS[name].config_class.smallest_size
    for size in (48, smallest // 2):
        with pytest.raises(ValueError, match=f"power of two from {smallest}, got {size}"):
            MODELS[name].config_class(image_size=size)


def test_checkpoint_names_every_variable_that_training_changes(four_steps):
    _, model, _ = four_steps
    known = {id(variable) for variable in model.checkpoint_variables().values()}
    owned = itertools.chain(
        model.variables,
        model.state.values(),
        model.generator_optimizer.variables,
        model.discriminator_optimizer.variables,
    )
    assert {variable.path for variable in owned if id(variable) not in known} == set()


def test_export_reloads_and_draws_the_same(generator, tmp_path):
    model = make_gan(generator)
    names = ("NORMAL", "PNEUMONIA")[: model.config.label_count]
    run = RunConfig(generator, to_plain(model.config), names, seed=3, batch_size=4, steps=0, data={"name": "discs"})
    loaded = LoadedModel(export_model(model, run, tmp_path / generator, {"step": 0}))
    label = np.eye(2, dtype=np.float32)[[0, 1, 1]][:, : model.config.label_count]
    drawn = loaded.generate(np.array([7, 8, 2**40]), label)
    expected = to_pixels(model.generate(tf.constant([7, 8, 2**40], tf.int64), tf.constant(label))).numpy()
    assert np.abs(drawn.astype(int) - expected).max() <= 1, "chunks of another size may round otherwise"
    assert drawn.std() > 0
    scores = loaded.score(drawn, label)
    assert scores.shape == (3,) and ((scores >= 0) & (scores <= 1)).all()
    assert loaded.discriminator_reads_label == model.discriminator_reads_label


def test_images_of_another_size_are_refused_before_the_first_step(name, disc_records):
    model = make_gan(name, image_size=64)
    with pytest.raises(ValueError, match=r"takes images of 64x64 pixels .* but the data hold 32x32 pixels"):
        run_steps(model, disc_records, 0, 1)
    assert int(model.step) == 0


def test_a_conditional_model_refuses_data_without_labels(generator):
    with pytest.raises(ValueError, match="a conditional model needs at least one label"):
        MODELS[generator].config_class(label_count=0, conditional=True)


@pytest.mark.parametrize("name", cases(LABELLED))
def test_joint_labels_with_unknown_ones_train(name, disc_records):
    settings = {"label_count": 3, "is_single_label": False, "conditional": True}
    model = make_gan(name, **settings)
    images = next(iter(open_batches(model, disc_records)))["image"]
    random = np.random.default_rng(0)
    mask = random.integers(2, size=(len(images), 3)).astype(np.float32)
    label = mask * random.integers(2, size=mask.shape).astype(np.float32)
    batch = {"image": images, "label": tf.constant(label), "label_mask": tf.constant(mask)}
    train(model, tf.data.Dataset.from_tensors(batch).repeat(), 0, 2, [], STRATEGY())
    assert all(np.isfinite(float(mean.result())) for mean in model.metrics)
    drawn = model.generate(tf.constant([1, 1], tf.int64), tf.constant([[0.0, 0, 0], [1, 0, 1]]))
    assert not np.array_equal(drawn[0], drawn[1]), "the labels change the picture"

"""The command python -m tfcxr.benchmark, and what it measures by."""

import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from tfcxr.data.pipeline import load_images
from tfcxr.models.acgan import ACGANConfig
from tfcxr.models.pggan.config import PGGANConfig
from tfcxr.training.flop_count import count_flops, peak_flops_per_second
from tfcxr.training.stage_memory import fit, measure_stages
from tfcxr.training.throughput import benchmark_run, random_batch, write_noise_records


def test_the_command_prints_a_table_and_writes_json(tmp_path):
    settings = ("generator_filters=16", "discriminator_filters=4", "latent_size=4")
    command = [sys.executable, "-m", "tfcxr.benchmark", "--image_size=32", "--batch_size=4", "--draw_batch_size=8"]
    command += ["--repeats=10", "--pipeline_seconds=0.2", f"--json={tmp_path / 'figures.json'}"]
    command += [f"--set={setting}" for setting in settings]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    for name in ("train", "pipeline", "generate"):
        rate = report[name]["images_per_second"]
        assert rate > 0 and f"{rate:.1f}" in done.stdout
    assert report["train"]["mfu"] > 0 and report["train"]["operations_of_unknown_shape"] == []
    assert report["machine"]["peak_memory_mib"] > 100
    assert "load" in done.stdout


def test_an_unknown_measurement_ends_with_a_sentence():
    command = [sys.executable, "-m", "tfcxr.benchmark", "--what=training"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: cannot measure 'training'; did you mean 'train'?" in done.stderr


def test_flops_of_convolutions_products_and_gradients():
    image, kernel = tf.zeros([2, 8, 8, 3]), tf.Variable(tf.zeros([5, 5, 3, 4]))

    @tf.function
    def convolve(matrix):
        with tf.GradientTape() as tape:
            tape.watch(matrix)
            features = tf.nn.conv2d(image * matrix[0, 0], kernel, 2, "SAME")  # [2, 4, 4, 4]
            value = tf.reduce_sum(tf.square(tf.matmul(tf.reshape(features, [2, 64]), matrix)))
        return tape.gradient(value, [matrix, kernel])

    convolution, product = 2 * (2 * 4 * 4 * 4) * (5 * 5 * 3), 2 * 2 * 64 * 10
    flops, unknown = count_flops(convolve.get_concrete_function(tf.TensorSpec([64, 10])))
    assert unknown == []
    assert flops == 3 * convolution + 3 * product  # forward, gradient by input, gradient by weight


def test_operations_that_nothing_needs_are_not_counted():
    """A tape over two networks leaves the gradients of the one that was not asked for in the graph."""
    first, second = tf.Variable(tf.ones([8, 8])), tf.Variable(tf.ones([8, 8]))

    @tf.function
    def step(vector):
        with tf.GradientTape(persistent=True) as tape:
            hidden = tf.matmul(vector, first)
            total = tf.reduce_sum(tf.square(tf.matmul(hidden, second)))
        return tape.gradient(total, [second])

    flops, _ = count_flops(step.get_concrete_function(tf.TensorSpec([4, 8])))
    assert flops == 3 * (2 * 4 * 8 * 8)  # both products, and the gradient of the second by its weight


def test_a_conditional_counts_by_its_share():
    matrix = tf.ones([8, 8])

    @tf.function
    def sometimes(step):
        first = tf.cond(step % 4 == 0, lambda: matrix @ matrix @ matrix, lambda: matrix @ matrix, name="r1")
        return first, tf.cond(step % 8 == 0, lambda: matrix @ matrix, lambda: matrix, name="path_length")

    function = sometimes.get_concrete_function(tf.TensorSpec([], tf.int32))
    product = 2 * 8**3
    shares = {"r1": 0.25, "path_length": 0.125}
    assert count_flops(function, shares)[0] == (0.25 * 2 + 0.75 + 0.125) * product


def test_unknown_shapes_are_named():
    function = tf.function(lambda a: a @ a).get_concrete_function(tf.TensorSpec([None, None]))
    assert count_flops(function) == (0, ["MatMul"])


def test_the_peak_is_a_rate():
    assert peak_flops_per_second("float32") > 1e8  # any machine of this century


@pytest.mark.parametrize("is_single_label", [True, False])
def test_random_batches_look_like_the_pipelines(is_single_label):
    batch = random_batch(ACGANConfig(image_size=32, label_count=3, is_single_label=is_single_label), 6)
    assert batch["image"].shape == (6, 32, 32, 1) and batch["label"].shape == batch["label_mask"].shape == (6, 3)
    assert (tf.reduce_sum(batch["label"], axis=1).numpy() == 1).all() == is_single_label


def test_noise_records_can_be_read(tmp_path):
    images = load_images(write_noise_records(tmp_path, ACGANConfig(image_size=32)), "train")
    assert images.images.shape == (4096, 32, 32, 1) and images.info.is_synthetic


@pytest.mark.slow
def test_stages_of_a_growing_model_are_measured_and_fitted(tmp_path):
    command = [sys.executable, "-m", "tfcxr.benchmark", "--what=stages", "--model=pggan", "--steps_each=1"]
    command += ["--set=image_size=64", "--set=channel_max=16", "--sizes=64", "--batches=2,4"]
    done = subprocess.run(command + [f"--json={tmp_path / 'figures.json'}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())["stages"]
    (part,) = report["sizes"]
    small, large = part["batches"]
    assert (part["size"], small["batch"], large["batch"]) == (64, 2, 4)
    feature_map = 64 * 64 * 16 * 4 / 2**20  # of one image in MiB; a gradient needs several
    assert part["mib_an_image"] > 2 * feature_map
    assert large["memory_mib"] > small["memory_mib"] > small["variables_mib"] > 0
    assert large["process_mib"] > large["program_mib"] > 100
    assert [row["batch"] for row in report["generator"]] == [1, 8]
    assert "largest batch on" in done.stdout and "generator, 64 px, batch 8" in done.stdout


def memory_rows(*pairs):
    return [{"batch": batch, "memory_mib": memory, "variables_mib": 300.0} for batch, memory in pairs]


def test_memory_is_a_line_and_the_largest_batch_counts_with_the_worst_of_all():
    rows = memory_rows((2, 700.0), (4, 900.0), (8, 1350.0))
    fitted = fit(rows)
    assert (fitted["fixed_mib"], fitted["mib_an_image"], rows[2]["predicted_mib"]) == (500, 100, 1300)
    assert fitted["steepest_mib_an_image"] == 850 / 8
    # (7372.8 - 500) / 106.25 = 64.7, where 7372.8 MiB are 90 % of 8 GiB
    assert fitted["largest_batch"] == {"8": 64, "16": 134, "24": 203, "40": 342, "80": 689}


def test_fits_of_too_little_memory_and_of_none():
    assert fit(memory_rows((1, 1e5), (2, 2e5)))["largest_batch"]["80"] == 0
    assert fit(memory_rows((1, 300.0), (2, 300.0)))["largest_batch"]["8"] is None
    scattered = fit(memory_rows((1, 400.0), (2, 900.0)))  # a line that begins below the weights themselves
    assert scattered["fixed_mib"] == -100 and scattered["largest_batch"]["8"] == int((7372.8 - 300) / 500)


def test_stages_that_cannot_be_measured_are_refused(monkeypatch):
    growing = benchmark_run("pggan", PGGANConfig(image_size=8, channel_max=4), 2)
    with pytest.raises(ValueError, match="there is no stage of 16 px; pggan has 4, 8 px"):
        measure_stages(growing, sizes=[16])
    with pytest.raises(ValueError, match=r"two or more different batches and at least one step, got \[2\], 3"):
        measure_stages(growing, batches=[2, 2])
    with pytest.raises(ValueError, match="acgan does not grow, it has 32 px alone; measure it by --what=train"):
        measure_stages(benchmark_run("acgan", ACGANConfig(image_size=32), 2))
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # of the process that measures
    with pytest.raises(ChildProcessError, match="4 px could not be measured with batches of 1, 2: .*only with oneDNN"):
        measure_stages(growing, sizes=[4], batches=[2, 1])

"""The command python -m tfcxr.port: what it writes, and one sentence for each mistake."""

import csv
import hashlib
import io
import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.densenet import DenseNet
from tfcxr.models.pggan.networks import Discriminator
from tfcxr.port import PortArguments, port
from tfcxr.porting import FORMATS
from tfcxr.porting.densenet import densenet_targets
from tfcxr.porting.parity import Parity
from tfcxr.training.run_folder import load_model

WIDTHS, LATENT = (4, 3), 5  # at 4 and 8 px


def write_checkpoint(path, value):
    """As torch.save does, but for numpy arrays, which need no storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file/data.pkl", pickle.dumps(value, protocol=2))
    return path


def pggan_state():
    """The state dict of a CXR_PGGAN of 8 px."""
    generator = np.random.default_rng(0)
    first, second = WIDTHS
    drawing = {
        "latent_linear.0": [16 * first, LATENT],
        "init_conv.0": [first, first, 3, 3],
        "ScaleBlocks.0.convolv.0": [second, first, 3, 3],
        "ScaleBlocks.0.convolv.3": [second, second, 3, 3],
        "toRGB.0": [1, first, 1, 1],
        "toRGB.1": [1, second, 1, 1],
    }
    judging = {
        "fromRGB.0": [first, 1, 1, 1],
        "fromRGB.1": [second, 1, 1, 1],
        "ScaleBlocks.0.convolv.0": [first, second, 3, 3],
        "ScaleBlocks.0.convolv.2": [first, first, 3, 3],
        "DecisionBlock.0": [first, first + 1, 3, 3],
        "DecisionBlock.2": [first, first, 4, 4],
        "DecisionLinear": [1, first],
    }
    state = {"alpha": np.array(0), "g_current_iter": np.array(12)}
    for network, shapes in (("generator", drawing), ("gen_shadow", drawing), ("discriminator", judging)):
        for name, shape in shapes.items():
            state[f"{network}.{name}.module.weight"] = generator.normal(size=shape).astype(np.float32)
            state[f"{network}.{name}.module.bias"] = generator.normal(size=shape[0]).astype(np.float32)
    return state


def densenet_state():
    """The state dict of a tiny TorchXRayVision network."""
    generator = np.random.default_rng(1)
    network = DenseNet(growth_rate=4, block_config=(1, 1), initial_filters=8, bottleneck_size=2, classes=3, channels=1)
    shapes = {key: tuple(target.variable.shape) for key, target in densenet_targets(network).items()}
    turned = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    return {
        key: generator.uniform(0.5, 1.5, [shape[axis] for axis in turned[len(shape)]]).astype(np.float32)
        for key, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of checkpoints, some of them damaged."""
    folder = tmp_path_factory.mktemp("port")
    state = pggan_state()
    start = "discriminator."
    discriminator = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    write_checkpoint(folder / "full.pth", {"state_dict": state, "settings": {"alpha": 0.25}})
    write_checkpoint(folder / "critic.pth", {"state_dict": discriminator, "settings": {"leakiness": 0.1}})
    write_checkpoint(folder / "xrv.pt", densenet_state())
    spoiled = state | {"generator.toRGB.1.module.bias": np.array([np.nan], np.float32), "more": np.zeros(1)}
    write_checkpoint(folder / "spoiled.pth", {"state_dict": spoiled, "settings": {}})
    with zipfile.ZipFile(folder / "attack.pth", "w") as archive:
        archive.writestr("file/data.pkl", f"cos\nsystem\n(Vtouch {folder / 'attacked'}\ntR.")
    (folder / "half.pth").write_bytes((folder / "full.pth").read_bytes()[:-100])
    return folder


@pytest.fixture
def call(files, monkeypatch, capsys):
    """A function that ports a file of the folder, in the folder, and returns what is printed."""
    monkeypatch.chdir(files)

    def call(checkpoint, out, format="cxr_pggan", **others):
        port(PortArguments(format=format, checkpoint=checkpoint, out_dir=f"models/{out}", **others))
        return capsys.readouterr().out

    return call


@pytest.mark.thorough
def test_a_gan_becomes_a_run_folder_and_a_saved_model(files, call):
    folder = files
    printed = call("full.pth", "full", settings=("upsampling=bilinear",), run_dir="runs/full")
    with pytest.raises(ValueError, match="runs/full exists already; choose another --run_dir"):
        call("full.pth", "full")
    digest = hashlib.sha256((folder / "full.pth").read_bytes()).hexdigest()
    assert f"ported full.pth (SHA-256 {digest}) as cxr_pggan" in printed
    assert "saved_model: models/full/1" in printed and "run_dir: runs/full" in printed
    report = json.loads((folder / "models" / "full" / "1" / "port_report.json").read_text())
    assert report == json.loads((folder / "runs" / "full" / "port_report.json").read_text())
    assert report["source"] == {"file": "full.pth", "sha256": digest}
    state = pggan_state()
    counts = {
        name: sum(state[key].size for key in state if key.startswith(f"{prefix}."))
        for name, prefix in (("generator", "generator"), ("ema_generator", "gen_shadow"), ("discriminator",) * 2)
    }
    assert {name: report["networks"][name]["parameter_count"] for name in counts} == counts
    assert report["parameter_count"] == sum(counts.values())
    assert report["networks"]["training"]["ignored"].keys() == {"alpha", "g_current_iter"}
    assert f"generator: {counts['generator']:,} parameters, 12 keys used, 0 ignored" in printed
    assert re.search(r"written against in memory, images and scores of 2 seeds: largest difference [\d.e-]+, ", printed)
    assert 0 <= report["parity"]["largest"] < 1e-4 and report["settings"]["upsampling"] == "bilinear"
    assert report["reference"] is None and report["entry"] is None
    assert report["tensors"]["count"] == len(state) and f"{len(state)} tensors were read, see tensors.csv" in printed
    assert all(line in printed for line in report["tensors"]["compare_in_pytorch"])
    table = (folder / "models" / "full" / "1" / report["tensors"]["file"]).read_text()
    assert table == (folder / "runs" / "full" / "tensors.csv").read_text()
    sums = {json.loads(row["path"])[-1]: float(row["sum"]) for row in csv.DictReader(io.StringIO(table))}
    assert sums == {key: pytest.approx(array.sum(dtype=np.float64)) for key, array in state.items()}

    model, run, checkpoint = load_model(folder / "runs" / "full")
    assert (run.model, run.settings["filters"], checkpoint["step"]) == ("pggan", [4, 3], 12)
    assert checkpoint["ported_from"]["sha256"] == digest and float(model.state["alpha"].value) == 0.25
    np.testing.assert_array_equal(model.ema_generator.to_image[1].bias, state["gen_shadow.toRGB.1.module.bias"])
    loaded = tf.saved_model.load(str(folder / "models" / "full" / "1"))
    seed = tf.constant([5, 9], tf.int64)
    z = tf.concat([tf.random.stateless_normal([1, LATENT], [row, 0]) for row in (5, 9)], axis=0)
    image = loaded.generate_from_latent(z)["image"]
    np.testing.assert_allclose(image, model.generate_from_latent(z, tf.zeros([2, 0])), atol=1e-4)
    assert np.ptp(image) > 0.1
    np.testing.assert_allclose(loaded.generate(seed)["image"], np.round(127.5 * (image + 1.0)), atol=1)


def test_a_discriminator_alone_becomes_weights(files, call):
    printed = call("critic.pth", "critic")
    version = files / "models" / "critic" / "1"
    assert {path.name for path in version.iterdir()} == {"weights.weights.h5", "port_report.json", "tensors.csv"}
    assert "holds a discriminator alone" in printed
    report = json.loads((version / "port_report.json").read_text())
    assert report["kind"] == "discriminator" and report["settings"]["leaky_slope"] == 0.1
    ported = FORMATS["cxr_pggan"].port({"state_dict": pggan_state(), "settings": {}}, leakiness=0.1).model
    network = Discriminator(ported.config, seed=7)
    network.load_weights(version / "weights.weights.h5")
    inputs = tf.ones([2, 8, 8, 1]), tf.zeros([2, 0])
    np.testing.assert_allclose(network(inputs), ported.discriminator(inputs), rtol=1e-6)


def test_a_backbone_becomes_a_saved_model_with_keras_weights(files, call):
    call("xrv.pt", "xrv", "xrv_densenet121", settings=("input_size=64",))
    version = files / "models" / "xrv" / "1"
    report = json.loads((version / "port_report.json").read_text())
    assert report["kind"] == "backbone" and report["parity"]["largest"] < 1e-4
    ported = FORMATS["xrv_densenet121"].port(densenet_state(), input_size=64).model
    image = tf.random.stateless_uniform([2, 64, 64, 1], [1, 2], -1.0, 1.0)
    expected = ported.pooled(ported.from_signed(image))
    loaded = tf.saved_model.load(str(version))
    np.testing.assert_allclose(loaded.extract(image)["features"], expected, rtol=1e-4)
    for variable in ported.variables:
        variable.assign(np.zeros(variable.shape))
    ported.load_weights(version / "weights.weights.h5")
    np.testing.assert_allclose(ported.pooled(ported.from_signed(image)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("checkpoint", "others", "message"),
    [
        ("full.pth", {"format": "cxr_pgan"}, "--format=cxr_pgan is unknown; did you mean 'cxr_pggan'[?] valid names: "),
        ("full.pth", {"settings": ("leakines=.1",)}, "format cxr_pggan has no option 'leakines'; did you mean 'leakin"),
        ("full.pth", {"settings": ("leakiness=steep",)},
         "full.pth was not ported as cxr_pggan: PGGANConfig.leaky_slope expects a number, got 'steep'"),
        ("none.pth", {}, "there is no checkpoint none.pth"),
        ("half.pth", {}, "the checkpoint half.pth was not read: it begins like a zip and has no end; it is truncated"),
        ("attack.pth", {}, "the checkpoint attack.pth was not read: it names 'os.system', .*nothing was run"),
        ("full.pth", {"format": "fb_pggan"}, "full.pth was not ported as fb_pggan: expected a dictionary with netG"),
        ("spoiled.pth", {},
         "spoiled.pth was not ported as cxr_pggan: .* 1 with values that are not finite: generator."),
    ],
)  # fmt: skip
def test_a_wrong_call_gives_one_sentence_and_writes_nothing(files, call, checkpoint, others, message):
    with pytest.raises((ValueError, FileNotFoundError), match=f"^{message}"):
        call(checkpoint, "wrong", **others)
    assert not (files / "models" / "wrong").exists() and not (files / "runs" / "wrong").exists()
    assert not (files / "attacked").exists()


@pytest.mark.parametrize(
    ("largest", "mean", "is_met"),
    [(0.0, 0.0, True), (1e-4, 1e-6, True), (0.01, 1e-6, False), (1e-4, 1e-4, False), (float("nan"), 0.0, False)],
)
def test_parity_allows_rounding_only(largest, mean, is_met):
    assert Parity("images", largest, mean).is_met is is_met

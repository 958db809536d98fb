"""A port is compared with the original's numbers: a DenseNet written here in numpy, and the fixtures of others."""

import functools
import json
import re

import numpy as np
import pytest

from tfcxr.porting import FORMATS
from tfcxr.porting.port_file import port_file, report_text
from tfcxr.porting.reference import ReferenceCheck, check_reference

LAYERS = (2, 1)  # of the two blocks
WIDTH, GROWTH, CLASSES, SIZE = 6, 3, 4, 24


def make_state(seed=0):
    """The state dict of a tiny DenseNet, every number drawn."""
    generator = np.random.default_rng(seed)
    state = {"features.conv0.weight": generator.normal(0, 2e-4, [WIDTH, 1, 7, 7])}

    def norm(key, width):
        state[f"{key}.weight"], state[f"{key}.bias"] = generator.uniform(0.5, 2, width), generator.normal(size=width)
        state[f"{key}.running_mean"] = generator.normal(size=width)
        state[f"{key}.running_var"] = generator.uniform(0.5, 2, width)

    norm("features.norm0", WIDTH)
    width = WIDTH
    for block, layers in enumerate(LAYERS, start=1):
        for layer in range(1, layers + 1):
            key = f"features.denseblock{block}.denselayer{layer}"
            norm(f"{key}.norm1", width)
            state[f"{key}.conv1.weight"] = generator.normal(0, 0.3, [2 * GROWTH, width, 1, 1])
            norm(f"{key}.norm2", 2 * GROWTH)
            state[f"{key}.conv2.weight"] = generator.normal(0, 0.2, [GROWTH, 2 * GROWTH, 3, 3])
            width += GROWTH
        if block < len(LAYERS):
            norm(f"features.transition{block}.norm", width)
            state[f"features.transition{block}.conv.weight"] = generator.normal(0, 0.3, [width // 2, width, 1, 1])
            width //= 2
    norm("features.norm5", width)
    state["classifier.weight"] = generator.normal(0, 0.3, [CLASSES, width])
    state["classifier.bias"] = generator.normal(size=CLASSES)
    return {key: array.astype(np.float32) for key, array in state.items()}


def forward(state, image):
    """What the original computes of float32 [batch, 1, height, width], in float64: the last map, and the logits."""

    def windows(x, size, stride, padding):
        x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        return np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]

    def convolved(key, x, stride=1, padding=0):
        kernel = state[f"{key}.weight"].astype(np.float64)
        return np.einsum("nchwij,ocij->nohw", windows(x, kernel.shape[2], stride, padding), kernel)

    def normed(key, x):
        weight, bias, mean, variance = (
            state[f"{key}.{part}"].astype(np.float64)[:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    def rectified(x):
        return np.maximum(x, 0)

    x = convolved("features.conv0", image.astype(np.float64), 2, 3)
    x = windows(rectified(normed("features.norm0", x)), 3, 2, 1).max((4, 5))  # after the ReLU padding never wins
    for block, layers in enumerate(LAYERS, start=1):
        for layer in range(1, layers + 1):
            key = f"features.denseblock{block}.denselayer{layer}"
            inside = convolved(f"{key}.conv1", rectified(normed(f"{key}.norm1", x)))
            new = convolved(f"{key}.conv2", rectified(normed(f"{key}.norm2", inside)), padding=1)
            x = np.concatenate([x, new], axis=1)
        if block < len(LAYERS):
            key = f"features.transition{block}"
            x = windows(convolved(f"{key}.conv", rectified(normed(f"{key}.norm", x))), 2, 2, 0).mean((4, 5))
    features = normed("features.norm5", x)
    logits = rectified(features).mean((2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]
    return {
        "features": features,
        "features_mean": features.mean((2, 3)),
        "features2": rectified(features).mean((2, 3)),
        "logits": logits,
        "sigmoid": 1 / (1 + np.exp(-logits)),
    }


def make_image(seed=0):
    return np.random.default_rng(seed).uniform(-1024, 1024, [2, 1, SIZE, SIZE]).astype(np.float32)


def save(path, outputs, prefix="", inputs=None):
    inputs = {"image": make_image()} if inputs is None else inputs
    arrays = {f"in/{name}": array for name, array in inputs.items()}
    np.savez(path, **arrays, **{f"out/{prefix}{name}": np.float32(array) for name, array in outputs.items()})
    return path


def check(path, state, **options):
    ported = FORMATS["xrv_densenet121"].port(state, **options)
    return check_reference(path, functools.partial(FORMATS["xrv_densenet121"].output, ported))


@pytest.mark.parametrize(
    ("prefix", "name", "options"), [("", "image", {"input_size": 0}), (f"size_{SIZE}/", f"img_{SIZE}", {})]
)
def test_the_ported_network_gives_what_the_original_gives(tmp_path, prefix, name, options):
    state, image = make_state(), make_image()
    path = save(tmp_path / "reference.npz", forward(state, image), prefix, {name: image})
    found = check(path, state, **options)
    assert list(found.compared) == [f"{prefix}{part}" for part in forward(state, image)]
    assert not found.missed and not found.not_compared
    assert max(figures["largest"] for figures in found.compared.values()) < 1e-5
    assert found.text.startswith("5 outputs of reference.npz: largest difference") and found.text.endswith("1e-05, met")


@pytest.mark.parametrize(
    "key", ["classifier.bias", "features.norm5.bias", "features.transition1.norm.bias", "features.conv0.weight"]
)
def test_a_tensor_of_the_wrong_sign_is_seen(tmp_path, key):
    """What comparing the written model with the one in memory cannot see."""
    state = make_state()
    path = save(tmp_path / "reference.npz", forward(state, make_image()))
    found = check(path, state | {key: -state[key]}, input_size=0)
    assert "logits" in found.missed and re.search(r"not met by [1-5]$", found.text)
    worst = [found.compared[name]["largest"] for name in found.missed]
    assert worst == sorted(worst, reverse=True) and worst[0] > 2e-2


def test_another_order_of_summing_would_pass_and_nan_would_not():
    near = ReferenceCheck("file.npz", {"a": {"largest": 9e-4, "mean": 9e-6}}, {})
    assert near.missed == []
    wrong = {"a": {"largest": 2e-3, "mean": 0.0}, "b": {"largest": 0.0, "mean": 2e-5}}
    wrong["c"] = {"largest": np.nan, "mean": np.nan}
    assert ReferenceCheck("file.npz", wrong, {}).missed == ["c", "a", "b"]


def test_summaries_and_first_channels(tmp_path):
    """Of maps too large to keep."""
    maps = np.random.default_rng(0).normal(size=[2, 128, 128, 5]).astype(np.float32)
    first = maps.transpose(0, 3, 1, 2)
    outputs = {
        "map": first[:, :3],
        "map__crop": first[:, :, 47:111, 47:111],
        "map__mean64": first.reshape(2, 5, 64, 2, 64, 2).mean((3, 5)),
        "map__stats": np.stack([first.mean((2, 3)), first.std((2, 3))]),
        "map__median": first,
        "other": first,
    }
    path = save(tmp_path / "reference.npz", outputs)
    found = check_reference(path, lambda inputs, name: maps if name == "map" else None)
    assert list(found.compared) == list(outputs)[:4] and not found.missed
    assert found.not_compared == dict.fromkeys(["map__median", "other"], "the format knows no output of this name")


def test_outputs_without_their_inputs_are_named(tmp_path):
    state, image = make_state(), make_image()
    outputs = {f"size_{SIZE}/logits": forward(state, image)["logits"], "size_512/logits": np.ones([2, CLASSES])}
    path = save(tmp_path / "reference.npz", outputs, inputs={f"img_{SIZE}": image})
    assert check(path, state).not_compared == {"size_512/logits": "reference.npz has no in/img_512"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"out/logits": np.ones([2, 4])}, r"needs arrays in/\.\.\. and out/\.\.\., it has out/logits"),
        ({"logits": np.ones([2, 4])}, r"needs arrays in/\.\.\. and out/\.\.\., it has logits"),
        ({"in/image": make_image(), "out/loss": np.ones(1)}, "nothing of the .*out/loss: the format knows no"),
        ({"in/z": np.ones([2, 4]), "out/logits": np.ones([2, 4])}, "out/logits: reference.npz has no in/image"),
        ({"in/image": make_image(), "out/logits": np.ones([2, 5])}, r"\(2, 5\), the ported network gives \(2, 4\)"),
        ({"in/image": make_image(), "out/logits": np.array([None])}, "is no .npz of numbers"),
    ],
)
def test_references_that_cannot_be_compared(tmp_path, arrays, message):
    np.savez(tmp_path / "reference.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        check(tmp_path / "reference.npz", make_state(), input_size=0)


def test_files_that_are_no_reference(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no reference .*none.npz"):
        check(tmp_path / "none.npz", make_state())
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match="text.npz is no .npz of numbers"):
        check(tmp_path / "text.npz", make_state())


@pytest.fixture(scope="module")
def files(tmp_path_factory, torch_file):
    """A folder with a checkpoint that has its weights twice, and a reference of each."""
    folder = tmp_path_factory.mktemp("reference")
    states = {"model": make_state(), "ema": make_state(seed=1)}
    torch_file.write_zip(folder / "both.pt", {"epoch": 3} | states)
    for name, state in states.items():
        outputs = forward(state, make_image())
        save(folder / f"{name}.npz", {output: outputs[output] for output in ("logits", "features")})
    return folder


def port(files, reference, out, entry=None):
    options = {"input_size": 0}
    return port_file(files / "both.pt", "xrv_densenet121", files / out, None, options, entry, files / reference)


@pytest.mark.parametrize("name", ["model", "ema"])
def test_a_port_says_what_was_taken_and_that_the_reference_is_met(files, name):
    report = port(files, f"{name}.npz", name, None if name == "model" else "ema")
    printed = report_text(report)
    assert "ported against the original, 2 outputs of" in printed and "1e-05, met" in printed
    taken = "The weights are those of the entry 'model'; 'ema' would do as well, chosen by --entry."
    assert (taken in printed) == (name == "model")
    assert report == json.loads((files / name / "1" / "port_report.json").read_text())
    assert report["reference"]["compared"].keys() == {"logits", "features"}
    assert report["reference"]["not_compared"] == {}
    assert report["networks"]["densenet"]["notes"] == ([taken] if name == "model" else [])
    assert report["entry"] == (None if name == "model" else "ema")


def test_a_reference_that_is_not_met_ends_the_port(files):
    message = "the ported network does not give the reference's numbers, so nothing was written: 2 outputs of .*"
    with pytest.raises(ValueError, match=message + r"not met by 2: out/(logits|features) by [\d.]+"):
        port(files, "ema.npz", "wrong")
    with pytest.raises(ValueError, match="has no entry 'averaged' for --entry; it has 'epoch', 'model', 'ema'"):
        port(files, "model.npz", "wrong", "averaged")
    assert not (files / "wrong").exists()


# the authors' numbers


@pytest.mark.parametrize(
    ("name", "format_name", "options", "outputs"),
    [
        ("xrv_densenet_tiny", "xrv_densenet121", {}, 13),
        ("cxr_pggan_fade", "cxr_pggan", {}, 21),
        ("cxr_pggan_discriminator", "cxr_pggan", {}, 3),
        ("fb_pgan_small", "fb_pggan", {}, 53),
        ("stylegan2_ada_small", "stylegan2_ada", {}, 9),
        # of these sizes and options the formats' own tests compare all numbers
        pytest.param("cxr_pggan_small", "cxr_pggan", {}, 29, marks=pytest.mark.slow),
        pytest.param("xrv_densenet121", "xrv_densenet121", {}, 13, marks=pytest.mark.slow),
        pytest.param("torchvision_densenet121", "torchvision_densenet121", {}, 4, marks=pytest.mark.slow),
        pytest.param("torchvision_vgg16_features", "torchvision_vgg16", {}, 2, marks=pytest.mark.slow),
        pytest.param("torchvision_inception_v3", "torchvision_inception_v3", {}, 1, marks=pytest.mark.slow),
        pytest.param("pytorch_fid_inception_v3", "pytorch_fid_inception_v3", {}, 1, marks=pytest.mark.slow),
    ],
)
def test_references_of_the_original_programs_are_met(reference, name, format_name, options, outputs):
    fixture, format = reference(name), FORMATS[format_name]
    ported = format.port(fixture.checkpoint, **options)
    found = check_reference(fixture.path, functools.partial(format.output, ported))
    assert len(found.compared) == outputs and not found.missed, found.text

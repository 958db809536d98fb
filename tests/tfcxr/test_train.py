"""`tfcxr.train` as users call it, rightly and wrongly: one sentence per mistake, nothing lost. See also test_readme."""

import dataclasses
import functools
import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfcxr import command_line
from tfcxr.data.records import write_dataset_info
from tfcxr.evaluation.metrics.sliced_wasserstein import SLICED_WASSERSTEIN
from tfcxr.generate import generate
from tfcxr.models import MODELS
from tfcxr.train import train
from tfcxr.training import plan
from tfcxr.training.arguments import TrainArguments
from tfcxr.training.embedded_data import phantom_records
from tfcxr.training.run_folder import RunConfig, start_run

TINY = ["--steps=2", "--batch_size=8", "--set=generator_filters=32", "--set=discriminator_filters=8"]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """A function: lists of arguments -> [(exit status, what was printed)], run in this process and in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(arguments):
        status = 0
        try:
            command_line.run(train, ["train", "--nodeterministic", *map(str, arguments)])
        except SystemExit as stopped:
            status = stopped.code
        return status, capsys.readouterr().err

    return lambda *calls: [run(arguments) for arguments in calls]


WRONG_CALLS = [
    (["--model=acgn"], "error: --model=acgn is unknown; did you mean 'acgan'"),
    (["--modle=acgan"], "Unknown command line flag 'modle'. Did you mean: model"),
    (["--data_dir=DATA", "--set=pretrained=2024"], "error: 2024 is not a run folder"),
    (["acgan"], "error: unexpected argument 'acgan'; flags are written --name=value"),
    (["--data_dir=nowhere"], "error: data folder nowhere does not exist"),
    (["--data_dir=DATA", "--splits=tran"], "error: data set discs has no split 'tran'"),
    (["--data_dir=DATA", "--set=dropuot=.1"], "error: ACGANConfig has no setting 'dropuot'; did you mean 'dropout'"),
    (["--data_dir=DATA", "--set=image_size=64"], "error: .* holds images of 32 px, expected 64 px"),
    (["--data_dir=DATA", "--set=label_count=3"], "error: label_count=3 does not fit data set discs"),
    (
        ["--data_dir=DATA", "--batch_size=64"],
        "split 'train' of discs holds 48 images, too few for one training step of 64; the largest .* works is 48",
    ),
    (
        ["--data_dir=DATA", "--model=wgan_gp", "--batch_size=32", "--set=critic_steps=5"],
        r"too few for one training step of 160 \(32 x 5 batches per step\); the largest batch size that works is 9",
    ),
    (
        ["--data_dir=DATA", "--labels=PNEUMONA"],
        "error: discs has no label 'PNEUMONA'; did you mean 'PNEUMONIA'?",
    ),
    (
        ["--data_dir=DATA", "--minutes=5", "--set=decay_last=.3"],
        "error: decay_last=0.3 lets the learning rate fall towards the last step, .* give --steps",
    ),
    (["--data_dir=DATA", "--devices=GPU:9"], "error: devices GPU:9 are not on this machine"),
    (["--data_dir=DATA", "--experiment=none.py"], "error: experiment none.py does not exist"),
    (["--data_dir=DATA", "--run_dir=FILE/run"], "error: .*FILE"),
    (["--data_dir=DATA", "--variant=corrected"], "error: --variant=corrected needs the file it is in: --experiment="),
    (
        ["--data_dir=DATA", "--model=acgan", "--experiment=PAPER", "--variant=small"],
        "error: variant 'small' of .* is of the model cgan, got --model=acgan; leave out --model",
    ),
]


def filled(argument, places):
    """`argument` with the paths that stand for its words in capitals."""
    for word, path in places.items():
        argument = argument.replace(word, str(path))
    return argument


def write_paper(folder):
    """An experiment of a tiny CGAN."""
    path = folder / "paper.py"
    model = {"latent_size": 7, "generator_filters": 32, "discriminator_filters": 8}
    variant = {"model_name": "cgan", "model": model, "steps": 3, "batch_size": 8, "sample_every": 2, "images": 9}
    path.write_text(f"VARIANTS = {{'small': {variant!r}}}\n")
    return path


@pytest.mark.thorough
def test_a_variant_decides_all_of_a_training_but_what_flags_say(disc_records, tmp_path, call):
    variant = [f"--data_dir={disc_records}", f"--experiment={write_paper(tmp_path)}", "--variant=small", "--noexport"]
    calls = [[*variant, "--run_dir=whole"], [*variant, "--run_dir=changed", "--steps=1", "--set=latent_size=5"]]
    for (status, errors), steps in zip(call(*calls), (3, 1), strict=True):
        assert status == 0, errors[-3000:]
        said = f"model cgan, batch_size 8, steps {steps}, sample_every 2; not of training and left out: images"
        assert said in errors
    for name, steps, latent_size in (("whole", 3, 7), ("changed", 1, 5)):
        run = json.loads((tmp_path / name / "config.json").read_text())
        assert (run["model"], run["steps"], run["batch_size"]) == ("cgan", steps, 8)
        assert run["settings"]["latent_size"] == latent_size
    assert (tmp_path / "whole" / "samples" / "step-00000002.png").is_file()


def test_a_wrong_call_gives_one_sentence(disc_records, tmp_path, call):
    file = tmp_path / "FILE"
    file.write_text("not a folder")
    places = {"DATA": disc_records, "FILE": file, "PAPER": write_paper(tmp_path)}
    calls = [[filled(argument, places) for argument in arguments] for arguments, _ in WRONG_CALLS]
    results = call(*calls)
    for (arguments, message), (status, errors) in zip(WRONG_CALLS, results, strict=True):
        assert status == 1, (arguments, errors)
        assert re.search(message, errors), (arguments, errors)
        assert "Traceback" not in errors
    assert not (tmp_path / "saved_models").exists()
    assert not (tmp_path / "runs").exists(), "a call that cannot work leaves no run folder in the way"


@pytest.mark.thorough
def test_time_ends_a_training_as_its_last_step_does(disc_records, tmp_path, call):
    timed = [f"--data_dir={disc_records}", *TINY[1:], "--export_dir=models", "--resume", "--run_dir=run"]
    first, again, longer = call(
        [*timed, "--minutes=0.001"], [*timed, "--minutes=0.001"], [*timed, "--minutes=9", "--steps=3"]
    )
    assert [status for status, _ in (first, again, longer)] == [0, 0, 0], (first, again, longer)
    assert "0.001 minutes in steps of 8 images" in first[1]
    assert "ended at step 1: --minutes=0.001 are over" in first[1] and "ended" not in again[1]
    assert "resuming at step 1\n" in again[1] and "resuming at step 1 of 3" in longer[1]
    steps = [json.loads((tmp_path / "models" / version / "model.json").read_text())["steps"] for version in "123"]
    assert steps == [1, 1, 3]
    assert json.loads((tmp_path / "run/config.json").read_text())["steps"] == 3


def test_folder_of_another_run_is_refused_and_kept(disc_records, tmp_path, call):
    run = [f"--data_dir={disc_records}", f"--run_dir={tmp_path / 'run'}", "--noexport", *TINY]
    first, again, other = call(run, run, [*run, "--resume", "--seed=5"])
    assert first[0] == 0, first[1]
    assert again[0] == other[0] == 1
    assert "holds a run already; continue it with --resume" in again[1]
    assert "seed was 0, now 5" in other[1]
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    ((status, errors),) = call([*run, "--resume"])
    assert status == 1
    assert "step-00000002.npz is damaged" in errors


def test_a_run_goes_on_with_what_it_began_with_also_from_an_earlier_version(disc_records, tmp_path, call):
    run_dir = tmp_path / "run"
    stored = RunConfig("stylegan2", {"mapping_layers": 3, "image_size": 32}, ("NORMAL", "PNEUMONIA"), 0, 4, 2, {})
    start_run(run_dir, stored, resume=False)
    arguments = TrainArguments(model="stylegan2", data_dir=str(disc_records), run_dir=str(run_dir))
    run = plan.plan_training(dataclasses.replace(arguments, resume=True), {"precision": "auto"}).run
    found = (run.settings["mapping_layers"], run.settings["discriminator_mapping_layers"])
    assert (run.batch_size, run.steps, *found) == (4, 2, 3, 3)
    new = plan.plan_training(dataclasses.replace(arguments, run_dir=str(tmp_path / "new")), {}).run
    assert (new.batch_size, new.steps, new.settings["mapping_layers"]) == (32, 1000, 2)
    other = ["--model=stylegan2", f"--data_dir={disc_records}", f"--run_dir={run_dir}", "--resume"]
    ((status, errors),) = call([*other, "--set=discriminator_mapping_layers=4"])
    assert status == 1 and "settings.discriminator_mapping_layers was 3, now 4" in errors


def test_altered_shard_is_found_on_request(disc_records, tmp_path, call):
    data_dir = shutil.copytree(disc_records, tmp_path / "copy")
    shard = data_dir / "train-00000-of-00003.tfrecord"
    content = bytearray(shard.read_bytes())
    content[-20] ^= 1
    shard.write_bytes(content)
    run = [f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}", "--verify_checksums", *TINY]
    ((status, errors),) = call(run)
    assert status == 1
    assert "was altered: its SHA-256 is not the recorded one" in errors


@pytest.mark.thorough
def test_full_disk_keeps_what_was_there(disc_records, tmp_path):
    """A limit on file size stands in for a full disk: writing a checkpoint fails halfway."""
    run_dir = tmp_path / "run"
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "import tfcxr.train as t; from tfcxr import command_line; command_line.run(t.train)"
    )
    command = [sys.executable, "-c", script, f"--data_dir={disc_records}", f"--run_dir={run_dir}", *TINY]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "no space left to write" in result.stderr
    assert "Traceback" not in result.stderr
    checkpoints = run_dir / "checkpoints"
    assert not checkpoints.exists() or not list(checkpoints.iterdir())


@pytest.mark.thorough
def test_models_without_z_and_without_labels_train_and_export_by_the_same_command(disc_records, tmp_path, call):
    small = {
        "srgan": ["residual_blocks=1", "filters=8", "discriminator_filters=4", "warmup_steps=0"],
        "vanilla_gan": ["generator_units=(16,32)", "discriminator_units=(32,16)"],
    }
    steps = ["--steps=2", "--batch_size=4", "--sample_every=2"]
    calls = [
        [f"--model={name}", f"--data_dir={disc_records}", *steps, *(f"--set={setting}" for setting in settings)]
        for name, settings in small.items()
    ]
    no_split = [*calls[0], "--run_dir=runs/other", "--validation_splits=held_out"]
    *trained, refused = call(*calls, no_split)
    assert [status for status, _ in trained] == [0, 0], trained
    for name, kind, labels, logged in (
        ("srgan", "super_resolution", [], "psnr_bicubic"),
        ("vanilla_gan", "generator", [], "ms_ssim/images"),
    ):
        description = json.loads((tmp_path / "saved_models" / name / "1" / "model.json").read_text())
        assert (description["kind"], description["label_names"]) == (kind, labels)
        assert (tmp_path / "runs" / name / "samples" / "step-00000002.png").stat().st_size > 0
        assert logged in (tmp_path / "runs" / name / "metrics.jsonl").read_text()
    assert refused[0] == 1 and "has no split 'held_out'; choose one of test, train, validation" in refused[1]
    assert not (tmp_path / "runs" / "other").exists()


@pytest.mark.thorough
def test_a_run_says_what_it_trains_on_and_ends_with_a_command_that_works(write_records, tmp_path, call):
    labels = {name: {"positive": 4, "negative": 4, "unknown": 0} for name in ("No Finding", "Effusion")}
    info = write_records(tmp_path / "records" / "32", {"train": 8}, label_names=tuple(labels), is_single_label=False)
    split = dataclasses.replace(info.splits["train"], labels=labels)
    write_dataset_info(tmp_path / "records" / "32", dataclasses.replace(info, splits={"train": split}))
    run = ["--data_dir=records", "--run_dir=runs/first", "--sample_every=2", *TINY]
    (trained,) = call(run)
    assert trained[0] == 0, trained[1]
    said = [line.removeprefix("info: ") for line in trained[1].splitlines() if line.startswith("info: ")]
    precision = json.loads((tmp_path / "runs/first/config.json").read_text())["settings"]["precision"]
    start = next(number for number, line in enumerate(said) if line.startswith("data: "))
    assert said[start] == (
        "data: discs in records/32, split train: 8 images of 4 patients, 32 px, "
        "labels No Finding, Effusion (joint: an image may have several)"
    )
    assert (
        said[start + 1]
        == f"model: acgan, conditional on the labels; 2 steps of 8 images in {precision}; run folder runs/first"
    )
    assert said[start + 2] == "pictures: every 2 steps in runs/first/samples"
    assert said[start + 3].startswith(
        "best checkpoint: the step with the smallest sliced_wasserstein between generated and 8 real"
    )
    assert said[start + 4] == f"sliced_wasserstein: {SLICED_WASSERSTEIN.meaning}"
    *_, pictures, exported, following = said
    assert (
        pictures
        == "runs/first/samples/step-00000002.png is the newest picture; curves: tensorboard --logdir runs/first"
    )
    assert exported.startswith("exported to saved_models/first/1")
    words = shlex.split(following.removeprefix("next: "))
    assert words[:3] == ["python", "-m", "tfcxr.generate"] and "--counts=No Finding=100,Effusion=100" in words
    command_line.run(generate, words[2:])
    assert (tmp_path / "cohorts/first/32/dataset_info.json").is_file()


@pytest.mark.thorough
def test_labels_that_are_not_used_are_said(disc_records, call):
    vanilla = ["--model=vanilla_gan", "--set=generator_units=(16,32)", "--set=discriminator_units=(32,16)"]
    srgan = ["--model=srgan", "--set=residual_blocks=1", "--set=filters=8", "--set=discriminator_filters=4"]
    run = [f"--data_dir={disc_records}", "--steps=1", "--batch_size=4"]
    generator, super_resolution = call([*vanilla, *run], [*srgan, *run, "--noexport"])
    assert "unconditional (the labels are not used; --set=conditional=True trains on them)" in generator[1]
    assert generator[1].rstrip().endswith("--images=100 --preview")
    assert "unconditional (the labels are not used; the model takes none)" in super_resolution[1]
    assert (
        "nothing was exported; next: python -m tfcxr.export --run_dir=runs/srgan --out_dir=saved" in super_resolution[1]
    )


@pytest.mark.thorough
def test_chosen_labels_stay_with_the_run(disc_records, write_records, tmp_path, call):
    write_records(tmp_path / "discs", {"train": 20}, images_a_patient=1)
    swapped = [f"--data_dir={disc_records}", "--run_dir=swapped", *TINY, "--noexport"]
    model = ["--model=vanilla_gan", "--set=generator_units=(16,32)", "--set=discriminator_units=(32,16)", *TINY[:2]]
    one = ["--data_dir=discs", "--run_dir=one", *model, "--noexport", "--sample_every=2"]
    first, resumed, other, more, left_out = call(
        [*swapped, "--labels=PNEUMONIA, NORMAL"],
        [*swapped, "--resume", "--steps=3"],
        [*swapped, "--resume", "--labels=NORMAL,PNEUMONIA"],
        [*swapped, "--run_dir=all"],
        [*one, "--labels=PNEUMONIA"],
    )
    assert [first[0], resumed[0], more[0], left_out[0]] == [0, 0, 0, 0], (first, resumed, more, left_out)
    assert json.loads((tmp_path / "swapped/config.json").read_text())["label_names"] == ["PNEUMONIA", "NORMAL"]
    assert other[0] == 1
    assert "swapped was begun with --labels=PNEUMONIA,NORMAL, got --labels=NORMAL,PNEUMONIA" in other[1]
    assert "labels" not in json.loads((tmp_path / "all/config.json").read_text())["data"]
    assert "10 images of 10 patients, 32 px, labels PNEUMONIA (exclusive: each image has one)" in left_out[1]
    patients = (tmp_path / "one/training_patients.txt").read_text().split()
    assert set(patients) == {f"patient-train-{number}" for number in range(1, 20, 2)}
    ((status, errors),) = call([*swapped, "--run_dir=all", "--resume", "--labels=PNEUMONIA"])
    assert status == 1 and "all was begun with all labels, got --labels=PNEUMONIA; leave out --labels" in errors


@pytest.mark.thorough
def test_precision_is_chosen_when_a_run_starts_and_kept(disc_records, tmp_path, call, monkeypatch):
    run = [f"--data_dir={disc_records}", "--noexport", *TINY]
    own = tmp_path / "own_gan.py"
    own.write_text(
        "from tfcxr.models import MODELS\nfrom tfcxr.models.acgan import ACGAN, ACGANConfig\n"
        "class Config(ACGANConfig):\n    trains_in_bfloat16 = False\n"
        "class Own(ACGAN):\n    config_class = Config\n"
        "MODELS['own_gan'] = Own\n"
    )
    paper = [f"--experiment={write_paper(tmp_path)}", "--variant=small", f"--data_dir={disc_records}", "--noexport"]
    monkeypatch.setattr(plan, "has_bfloat16", lambda devices: True)
    fast = call(
        [*run, "--run_dir=fast"],
        [*run, "--run_dir=own", f"--model={own}"],
        [*paper, "--run_dir=paper"],
        [*paper, "--run_dir=asked", "--set=precision=auto"],
    )
    del MODELS["own_gan"]
    monkeypatch.setattr(plan, "has_bfloat16", lambda devices: False)
    resumed, slow, emulated, refused = call(
        [*run, "--run_dir=fast", "--resume", "--steps=3"],
        [*run, "--run_dir=slow"],
        [*run, "--run_dir=emulated", "--set=precision=mixed_bfloat16"],
        [*run, "--run_dir=fast", "--resume", "--set=precision=float32"],
    )
    assert [status for status, _ in (*fast, resumed, slow, emulated)] == [0] * 7, (fast, resumed, slow)
    stored = {
        name: json.loads((tmp_path / name / "config.json").read_text())["settings"]["precision"]
        for name in ("fast", "own", "paper", "asked", "slow")
    }
    assert stored == {
        "fast": "mixed_bfloat16", "own": "float32", "paper": "float32", "asked": "mixed_bfloat16", "slow": "float32",
    }  # fmt: skip
    assert "the run was begun in mixed_bfloat16, which this machine emulates" in resumed[1]
    assert "this machine emulates bfloat16, many times slower than float32" in emulated[1]
    assert "3 steps of 8 images in mixed_bfloat16" in resumed[1]
    assert refused[0] == 1 and "settings.precision was 'mixed_bfloat16', now 'float32'" in refused[1]


GROWING = ["--model=pggan", "--set=latent_size=8", "--set=filters=8,8,8,4", "--set=first_size=16"]
GROWING += ["--set=stage_images=8,16", "--batch_size=8", "--sample_every=2", "--noexport"]
TUNING = ["--model=transfer_pggan", "--steps=2", "--batch_size=4", "--sample_every=2", "--set=critic_growth_rate=4"]
TUNING += ["--set=critic_blocks=1,1", "--set=critic_filters=8", "--set=critic_size=32", "--set=critic_head=8"]


@pytest.mark.thorough
def test_growth_in_one_command_then_fine_tuning(disc_records, tmp_path, call):
    """Sizes, progress and the shrunk records of growth; what fine-tuning starts from, and what it refuses."""
    data = f"--data_dir={disc_records}"
    grown, tuned, other = (tmp_path / name for name in ("grown", "tuned", "other"))
    (growth,) = call([data, f"--run_dir={grown}", *GROWING])
    assert growth[0] == 0, growth[1][-3000:]
    assert "there are no records of 16 px: those in" in growth[1]
    assert "32 px fading, alpha" in growth[1]
    assert "32 px stable" in growth[1]
    logged = [json.loads(line) for line in (grown / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if "sliced_wasserstein" in line] == [2]
    assert (grown / "checkpoints" / "step-00000003.npz").is_file(), "8 images at 16 px, 8 fading and 8 stable at 32"

    pretrained = f"--set=pretrained={grown}"
    unfinished = shutil.copytree(grown, tmp_path / "unfinished")
    checkpoint = unfinished / "checkpoints" / "step-00000003.npz"
    with np.load(checkpoint) as arrays:
        np.savez(checkpoint, **(dict(arrays) | {"state/size": np.array(16)}))
    start = lambda *more: [data, f"--run_dir={other}", "--noexport", *TUNING, *more]  # noqa: E731
    done, *wrong = call(
        [data, f"--run_dir={tuned}", f"--export_dir={tmp_path / 'saved'}", *TUNING, pretrained],
        start(),
        start(f"--set=pretrained={tmp_path / 'nowhere'}"),
        start(f"--set=pretrained={unfinished}"),
        start(pretrained, "--set=trained_blocks=7,"),
        start(pretrained, "--set=latent_size=9"),
        start(pretrained, "--set=critic_weights=nowhere"),
    )
    assert done[0] == 0, done[1][-3000:]
    assert re.search(r"1,6\d\d of 4,\d\d\d parameters of the generator learn: what makes 16 px, 32 px", done[1]), done[
        1
    ]
    assert "the frozen critic has random weights" in done[1]
    assert (tmp_path / "saved" / "1" / "saved_model.pb").is_file()
    before, after = (np.load(sorted((run / "checkpoints").glob("step-*"))[-1]) for run in (grown, tuned))
    np.testing.assert_array_equal(after["generator/000"], before["ema_generator/000"], "the latent layer is frozen")
    messages = [
        "transfer_pggan fine-tunes a trained PGGAN: give its run folder as --set=pretrained",
        "nowhere is not a run folder",
        "unfinished has grown to 16 of 32 px only; train it to its end first",
        "trained_blocks must name at least one of the 3 scale blocks",
        "latent_size=9 does not fit what is pretrained, which has latent_size=8",
        "nowhere",
    ]
    for message, (status, errors) in zip(messages, wrong, strict=True):
        assert status == 1, (message, errors[-2000:])
        assert message in errors
        assert "Traceback" not in errors
    assert not other.exists()


@pytest.mark.thorough
def test_a_training_on_the_embedded_data_resumes_with_what_it_began_with(call, monkeypatch, tmp_path):
    few = functools.partial(phantom_records, images=40)
    monkeypatch.setattr("tfcxr.training.training_data.phantom_records", few)
    monkeypatch.setenv("TFCXR_CACHE_DIR", str(tmp_path / "cache"))
    begun, resumed = call([*TINY, "--noexport"], ["--steps=4", "--noexport", "--resume"])
    assert begun[0] == resumed[0] == 0, resumed[1]
    run = json.loads((tmp_path / "runs" / "acgan" / "config.json").read_text())
    assert (run["batch_size"], run["steps"], run["settings"]["generator_filters"]) == (8, 4, 32)

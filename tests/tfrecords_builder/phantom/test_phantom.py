"""The phantom: deterministic, the same patient at every size, and each finding where the anatomy has it."""

import dataclasses
import hashlib
import itertools
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tfrecords_builder.datasets.phantom import Phantom
from tfrecords_builder.datasets.reader import RawExample
from tfrecords_builder.phantom.canvas import Canvas
from tfrecords_builder.phantom.findings import FINDINGS
from tfrecords_builder.phantom.thorax import Thorax

NAMES = ("No Finding", *FINDINGS)


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def with_findings(example: RawExample, *findings: str) -> RawExample:
    """The same patient and pose with other findings."""
    label = tuple(float(name in (findings or ("No Finding",))) for name in NAMES)
    return dataclasses.replace(example, label=label)


def first_images(count: int, **settings) -> tuple[Phantom, list[RawExample]]:
    """A phantom and the first image of some of its patients."""
    phantom = Phantom(images=count, patients=count, **settings)
    return phantom, list(phantom.examples())


def grey_at(image: np.ndarray, phantom: Phantom, example: RawExample, side: int, u: float, v: float) -> float:
    """Mean grey of 3 x 3 pixels at a place of the lung."""
    scene = phantom.scene(example)
    pose = scene.pose
    canvas = Canvas(phantom.image_size, pose.rotation, pose.magnification, (pose.shift_x, pose.shift_y))
    column, row = np.round(canvas.to_pixels(Thorax(scene.anatomy, pose).point(side, u, v))).astype(int)
    return float(image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].mean())


def test_examples_name_images_patients_and_labels():
    phantom = Phantom(images=300, seed=5)
    examples = list(phantom.examples())
    assert phantom.label_names == NAMES
    assert len(examples) == 300 == len({example.key for example in examples})
    assert examples[0].key == "phantom-000000-0"
    counts = np.unique([example.patient_id for example in examples], return_counts=True)[1]
    assert counts.min() == 1 and counts.max() == 4
    assert {example.view for example in examples} == {"AP", "PA"}
    assert {example.sex for example in examples} == {"F", "M"}
    ages = [example.age for example in examples]
    assert min(ages) >= 18 and max(ages) > 85
    for example in examples:
        assert example.label[0] == float(not any(example.label[1:])), "No Finding excludes every finding"


def test_patients_share_the_images_evenly_when_asked():
    examples = list(Phantom(images=11, patients=4).examples())
    assert [len(list(group)) for _, group in itertools.groupby(examples, lambda example: example.patient_id)] == [
        3,
        3,
        3,
        2,
    ]


def test_examples_are_lazy_and_more_images_only_append():
    endless = Phantom(images=10**8).examples()
    few = list(Phantom(images=7).examples())
    assert list(itertools.islice(endless, 7)) == few


def test_image_does_not_depend_on_order_process_or_pickling():
    phantom = Phantom(images=6, seed=3, image_size=64)
    examples = list(phantom.examples())
    forwards = [digest(phantom.read_image(example).pixels) for example in examples]
    np.random.seed(1)
    copy = pickle.loads(pickle.dumps(phantom))
    assert [digest(copy.read_image(example).pixels) for example in reversed(examples)] == forwards[::-1]
    assert len(set(forwards)) == 6
    program = (
        "import hashlib; from tfrecords_builder.datasets.phantom import Phantom\n"
        "phantom = Phantom(images=6, seed=3, image_size=64); example = list(phantom.examples())[4]\n"
        "print(hashlib.sha256(phantom.read_image(example).pixels.tobytes()).hexdigest())"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == forwards[4]


def test_another_seed_draws_other_patients():
    (one, examples), (two, others) = first_images(3, seed=0), first_images(3, seed=1)
    assert [example.age for example in examples] != [example.age for example in others]
    assert digest(one.read_image(examples[0]).pixels) != digest(two.read_image(others[0]).pixels)


def test_anatomy_stays_and_pose_changes_within_a_patient():
    phantom = Phantom(images=12, patients=3)
    scenes = [phantom.scene(example) for example in phantom.examples()]
    for patient in range(3):
        mine = scenes[4 * patient : 4 * patient + 4]
        assert len({scene.anatomy for scene in mine}) == 1
        assert len({scene.pose for scene in mine}) == 4
    assert len({scene.anatomy for scene in scenes}) == 3


def test_lesion_stays_in_place_while_follow_up_changes_its_size():
    phantom = Phantom(images=4, patients=1, prevalence="Mass=1")
    lesions = [phantom.scene(example).lesions[0] for example in phantom.examples()]
    assert len({(lesion.side, lesion.u, lesion.v) for lesion in lesions}) == 1
    assert len({lesion.size for lesion in lesions}) == 4


@pytest.mark.parametrize("size", [64, 100, 256])
def test_sizes_show_the_same_picture(size):
    # Quantum noise differs, and markers are printed in whole pixels: hence the blur and not quite 1.
    large, examples = first_images(3, image_size=128)
    small, _ = first_images(3, image_size=size)
    for example in examples:
        image, reference = small.read_image(example).pixels, large.read_image(example).pixels
        assert image.shape == (size, size) and image.dtype == np.uint8
        coarse = [cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA) for picture in (image, reference)]
        assert np.corrcoef(coarse[0].ravel(), coarse[1].ravel())[0, 1] > 0.995


def test_prevalence_is_as_asked_in_first_and_later_images():
    wanted = {"Effusion": 0.5, "Mass": 0.1, "Nodule": 0.3}
    examples = list(Phantom(images=3200, patients=800, prevalence=wanted).examples())
    for later in (False, True):
        labels = np.array([example.label for example in examples if example.key.endswith("-3") == later])
        shares = dict(zip(NAMES, labels.mean(0), strict=True))
        # 800 patients: .07 is four standard deviations
        for finding in FINDINGS:
            assert shares[finding] == pytest.approx(wanted.get(finding, 0.0), abs=0.07)
        assert shares["No Finding"] == pytest.approx(0.5 * 0.9 * 0.7, abs=0.07)


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (".4", dict.fromkeys(FINDINGS, 0.4)),
        (0, dict.fromkeys(FINDINGS, 0.0)),
        ("Effusion=.5, Mass=1", {**dict.fromkeys(FINDINGS, 0.0), "Effusion": 0.5, "Mass": 1.0}),
    ],
)
def test_prevalence_as_number_or_text(given, parsed):
    assert Phantom(prevalence=given).prevalence == parsed


def test_cardiothoracic_ratio_of_the_drawn_heart():
    phantom, examples = first_images(40)
    for example in examples:
        for findings, lowest, highest in (((), 0.35, 0.5), (("Cardiomegaly",), 0.55, 0.72)):
            scene = phantom.scene(with_findings(example, *findings))
            thorax = Thorax(scene.anatomy, scene.pose)
            ratio = np.ptp(thorax.heart_outline()[:, 0]) / (2 * thorax.half_width)
            assert lowest < ratio < highest


def test_mass_and_nodule_differ_by_three_centimetres():
    phantom, examples = first_images(60)
    sizes = {name: [] for name in ("Mass", "Nodule")}
    for example in examples:
        for lesion in phantom.scene(with_findings(example, "Mass", "Nodule")).lesions:
            sizes[lesion.finding].append(lesion.size)
    assert max(sizes["Nodule"]) < 30 < min(sizes["Mass"])


@pytest.mark.parametrize("finding", FINDINGS)
def test_severity_grows_from_nothing_to_visible(finding):
    change = {}
    for severity in (0.0, 0.4, 1.0):
        phantom, examples = first_images(6, image_size=64, severity=severity)
        pairs = [
            (phantom.read_image(with_findings(e, finding)).pixels, phantom.read_image(with_findings(e)).pixels)
            for e in examples
        ]
        change[severity] = np.mean([np.abs(one.astype(float) - other).mean() for one, other in pairs])
    assert change[0.0] < 1e-6 < change[0.4] < change[1.0]


def test_effusion_whitens_the_lower_outer_lung_only():
    phantom, examples = first_images(8)
    for example in examples:
        sick = with_findings(example, "Effusion")
        image, healthy = phantom.read_image(sick).pixels, phantom.read_image(with_findings(example)).pixels
        sides = [lesion.side for lesion in phantom.scene(sick).lesions]
        for side in sides:
            low = [grey_at(picture, phantom, example, side, 0.9, 0.9) for picture in (image, healthy)]
            assert low[0] > low[1] + 25
            high = [grey_at(picture, phantom, example, side, 0.6, 0.2) for picture in (image, healthy)]
            assert high[0] == pytest.approx(high[1], abs=4)


def test_pneumothorax_darkens_the_upper_outer_lung_of_its_side():
    phantom, examples = first_images(10)
    changes = {True: [], False: []}
    for example in examples:
        sick = with_findings(example, "Pneumothorax")
        image, healthy = phantom.read_image(sick).pixels, phantom.read_image(with_findings(example)).pixels
        affected = phantom.scene(sick).lesions[0].side
        for side in (-1, 1):
            grey = [grey_at(picture, phantom, example, side, 0.85, 0.25) for picture in (image, healthy)]
            changes[side == affected].append(grey[0] - grey[1])
    assert max(changes[True]) < -4 and np.mean(changes[True]) < -12
    assert np.abs(changes[False]).max() < 4


@pytest.mark.parametrize("finding", ["Mass", "Nodule", "Pneumonia"])
def test_opacity_brightens_its_place_and_not_the_other_lung(finding):
    phantom, examples = first_images(10)
    for example in examples:
        sick = with_findings(example, finding)
        image, healthy = phantom.read_image(sick).pixels, phantom.read_image(with_findings(example)).pixels
        lesions = phantom.scene(sick).lesions
        for lesion in lesions:
            grey = [grey_at(picture, phantom, example, lesion.side, lesion.u, lesion.v) for picture in (image, healthy)]
            assert grey[0] > grey[1] + 8
        if len(lesions) == 1:
            mirrored = (phantom, example, -lesions[0].side, 0.7, 0.2)
            assert grey_at(image, *mirrored) == pytest.approx(grey_at(healthy, *mirrored), abs=4)


def test_cardiomegaly_whitens_the_lung_beside_the_heart():
    phantom, examples = first_images(8)
    for example in examples:
        image, healthy = (phantom.read_image(with_findings(example, *f)).pixels for f in (("Cardiomegaly",), ()))
        difference = image.astype(float) - healthy
        rows, columns = np.nonzero(difference > 30)
        assert len(rows) > 150 and 45 < rows.mean() < 90, "a large area at the height of the heart"
        assert columns.std() < 40


def test_findings_may_occur_together():
    phantom, examples = first_images(2)
    everything = phantom.read_image(with_findings(examples[0], *FINDINGS)).pixels
    assert np.isfinite(everything).all() and 40 < everything.mean() < 220


def test_it_says_that_it_is_a_phantom():
    assert "PHANTOM" in Phantom.notice and "NOT PATIENTS" in Phantom.notice
    assert "phantom" in Phantom.citation.lower() and "Apache-2.0" in Phantom.licence


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "images of a phantom expects a number from 1 to 1e\\+08, got 0"),
        ({"images": 2.5}, "images of a phantom expects a whole number, got 2.5"),
        ({"images": 10, "patients": 11}, "patients of a phantom expects a number from 1 to 10, got 11"),
        ({"seed": -1}, "seed of a phantom expects a number from 0"),
        ({"image_size": 8}, "image_size of a phantom expects a number from 16 to 4096, got 8"),
        ({"severity": float("nan")}, "severity of a phantom expects a number from 0 to 1.5, got nan"),
        ({"prevalence": 1.2}, "prevalence of a phantom expects a number from 0 to 1, got 1.2"),
        ({"prevalence": "Efusion=.2"}, "the phantom has no finding 'Efusion'; did you mean 'Effusion'"),
        ({"prevalence": {"No Finding": 0.5}}, "prevalence of 'No Finding' cannot be set"),
        ({"prevalence": "Effusion=much"}, "prevalence of a phantom expects a number from 0 to 1, got 'much'"),
    ],
)
def test_wrong_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Phantom(**settings)


def test_an_example_of_another_data_set_is_refused():
    with pytest.raises(ValueError, match="expected the key of a phantom image such as 'phantom-000012-0', got 'a.png'"):
        Phantom().read_image(RawExample(key="a.png", patient_id="a", label=(1.0,) + (0.0,) * 6))

"""Evaluates synthetic cohorts by what they are worth to real patients, and writes one report.

    python -m tfcxr.evaluate --synthetic_dir=cohort/64 --real_dir=records/64 --test_splits=test --out_dir=runs/eval

    python -m tfcxr.evaluate --synthetic_dir=cohorts/acgan,cohorts/cgan --real_dir=records --protocols=all \\
        --extractor=trained,xception.keras --out_dir=runs/eval

report.html is for people, report.json for programs, scores.csv for spreadsheets; each holds every protocol of
--protocols for every cohort of --synthetic_dir. With --protocols=all, a question that these data cannot answer is named
in the report, with the reason, and the others are answered. A killed evaluation continues with the trainings that are
finished when the same command is run again. Settings are given as
--set=tstr.images=1000 --set=classifier.learning_rate=1e-4; `python -m tfcxr describe tstr classifier` lists them.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcxr import command_line
from tfcxr.command_line import Arguments, flag, name_and_path, refuse_flags
from tfcxr.config import parse_settings
from tfcxr.data.sizes import check_data_dirs
from tfcxr.evaluation.extractors import CLASSIFIERS
from tfcxr.evaluation.protocols import PROTOCOLS
from tfcxr.registry import find, nearest_name
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:
    import numpy as np

    from tfcxr.evaluation.evaluation import Evaluation
    from tfcxr.evaluation.report.report import Answer

CLASSIFIER = "classifier"  # the prefix of its settings
ALL = "all"  # protocols
PICTURES = 8  # of each row at the head of the page


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateArguments(Arguments):
    """Arguments of `evaluate`.

    Attributes:
      synthetic_dir: data folder of a synthetic cohort, such as cohort/64, or several, each as FOLDER or NAME=FOLDER.
      real_dir: data folder of the real patients, such as records/64. Here and above, records alone stands for the size
        in it that all folders have.
      out_dir: folder of the report and of finished trainings.
      protocols: what is asked; all is every question that these data can answer.
      test_dir: data folder of the test splits, where it is another than --real_dir, or several data sets, each as
        FOLDER or NAME=FOLDER; name --real_dir too where its test splits are to be among them.
      synthetic_splits: splits of the cohort; all where left out.
      train_splits: splits of real training patients.
      validation_splits: splits of --real_dir on which every training's end and threshold are chosen; where left out,
        each training keeps back a share of its own images.
      test_splits: splits of real test patients; each is reported by itself. Of several --test_dir, each gives those
        that it has.
      labels: which to evaluate, such as Effusion,Cardiomegaly, of those that all sets have; all where left out. Where
        labels are exclusive classes, images of other classes are left out.
      classifier: what is trained on the images.
      classifier_seeds: whole numbers; one training for each.
      extractor: what images are compared by: trained (a classifier of the real training images), pixels, the folder of
        a network that tfcxr.port wrote, any SavedModel, or any .keras file as FILE.keras:layer=NAME:values=signed; each
        as NAME=PATH where it is to be called otherwise.
      extractor_dir: folder of trained feature extractors, which several evaluations may share so that their distances
        compare; extractor/ of --out_dir where left out.
      label_map: names that other folders have for labels of --real_dir, such as COVID:PNEUMONIA,Normal:NORMAL; several
        may stand for one.
      allow_shared_patients: continue where test patients were trained on; the report is marked NOT patient-disjoint.
      overwrite: replace the report in --out_dir; trainings that still fit are used again.
      settings: PROTOCOL.NAME=VALUE or classifier.NAME=VALUE, see above.
    """

    synthetic_dir: tuple[str, ...]
    real_dir: str
    out_dir: str
    protocols: tuple[str, ...] = flag(("tstr",), choices=PROTOCOLS, takes_file=True, also=(ALL,))
    test_dir: tuple[str, ...] = ()
    synthetic_splits: tuple[str, ...] = ()
    train_splits: tuple[str, ...] = ("train",)
    validation_splits: tuple[str, ...] = ()
    test_splits: tuple[str, ...] = ("test",)
    labels: tuple[str, ...] = ()
    classifier: str = flag("vgg16", choices=CLASSIFIERS)
    classifier_seeds: tuple[str, ...] = ("0", "1", "2")
    extractor: tuple[str, ...] = ("trained",)
    extractor_dir: str | None = None
    label_map: tuple[str, ...] = ()
    allow_shared_patients: bool = False
    overwrite: bool = False
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)


def evaluate(arguments: EvaluateArguments) -> dict[str, Any]:
    """Answers every protocol's question, prints the verdicts and writes the report.

    Returns:
      the content of report.json.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: unknown names or settings, ones without effect, a report that is there, or what a protocol refuses.
    """
    check_data_dirs(arguments.real_dir, *(name_and_path(text)[1] for text in arguments.test_dir))
    with tensorflow_started():
        from tfcxr.evaluation.report.report import HTML_FILE, prepare_folder, write_report
    is_all = ALL in arguments.protocols
    asked_for = PROTOCOLS if is_all else arguments.protocols
    names = list(dict.fromkeys(find(PROTOCOLS, name, "protocol")[0] for name in asked_for))
    chosen = [PROTOCOLS[name] for name in names]
    asked = f"--protocols={','.join(names)} has no use for it"
    refuse_flags(arguments, set.intersection(*(set(protocol.unused) for protocol in chosen)), asked)
    if len(arguments.classifier_seeds) > 1 and not any(protocol.uses_every_seed for protocol in chosen):
        refuse_flags(arguments, ["classifier_seeds"], f"{names[0]} trains one extractor; give it one seed")
    by_prefix = _settings_by_prefix(arguments.settings, names)
    if arguments.validation_splits and "validation_fraction" in by_prefix[CLASSIFIER]:
        raise ValueError(
            f"--set={CLASSIFIER}.validation_fraction would have no effect: with --validation_splits, nothing is kept "
            "back of the training images; leave out one of them"
        )
    settings = {protocol.name: protocol.make_settings(by_prefix[protocol.name]) for protocol in chosen}
    evaluation = _evaluation(arguments, by_prefix[CLASSIFIER])
    prepare_folder(evaluation.out_dir, arguments.overwrite)
    answers, unanswered = _answers(evaluation, settings, is_all)
    report = write_report(evaluation, answers, unanswered, _pictures(evaluation, answers))
    for sentence in unanswered:
        print(f"Not answered. {sentence}")
    for sentence in dict.fromkeys(sentence for answer in answers for sentence in answer.findings.shared_patients):
        print(f"NOT patient-disjoint: {sentence}.")
    for answer in answers:
        said = answer.findings.verdict if len(answers) == 1 else answer.findings.verdict[:1]
        print(f"{answer.findings.title} of {answer.cohort}:", *said)
    print(f"Report: {evaluation.out_dir / HTML_FILE}")
    return report


def _answers(evaluation: "Evaluation", settings: Mapping[str, Any], is_all: bool) -> tuple[list["Answer"], list[str]]:
    """Of every protocol in `settings` and every cohort, and sentences on what could not be answered.

    Raises:
      ValueError: what a protocol refuses; where `is_all`, only if all refuse.
    """
    from tfcxr.evaluation.report.report import Answer

    asked = []
    for name in settings:
        parts = [evaluation]
        if not PROTOCOLS[name].takes_several:
            cohorts = evaluation.synthetic_dirs.items()
            parts = [dataclasses.replace(evaluation, synthetic_dirs={cohort: folder}) for cohort, folder in cohorts]
        asked += [(name, ", ".join(part.synthetic_dirs), part) for part in parts]
    answers, refusals = [], []
    for number, (name, cohort, part) in enumerate(asked, start=1):
        if len(asked) > 1:
            print(f"{number} of {len(asked)}: {name} of {cohort}", flush=True)
        began = time.monotonic()
        try:
            findings = PROTOCOLS[name].run(part, settings[name])
        except ValueError as error:
            if not is_all:
                raise
            refusals.append((f"{name} of {cohort}: {error}", error))
            continue
        answers.append(Answer(protocol=name, cohort=cohort, findings=findings, seconds=time.monotonic() - began))
    if not answers:
        raise refusals[0][1]
    for name in settings:
        by_cohort = {answer.cohort: answer.findings for answer in answers if answer.protocol == name}
        if (side_by_side := PROTOCOLS[name].side_by_side) and len(by_cohort) > 1:
            together = side_by_side(evaluation, settings[name], by_cohort)
            answers.append(Answer(protocol=name, cohort=", ".join(by_cohort), findings=together))
    return answers, [sentence for sentence, _ in refusals]


def _pictures(evaluation: "Evaluation", answers: Sequence["Answer"]) -> dict[str, "np.ndarray"]:
    """Rows of the grid at the head of the page: real and synthetic images at random, and nearest pairs."""
    import numpy as np

    from tfcxr.data.stored_images import open_images

    first_test = next(iter(evaluation.test_sets.values()))
    sides: dict[str, tuple[pathlib.Path, tuple[str, ...]]] = {"real": (first_test.folder, (first_test.split,))}
    for name, folder in evaluation.synthetic_dirs.items():
        sides[name] = (folder, evaluation.synthetic_splits or tuple(evaluation.synthetic_infos[name].splits))
    rows = {}
    for name, (folder, splits) in sides.items():
        images = open_images(folder, splits)
        rows[name] = images[np.random.default_rng(0).permutation(len(images))[:PICTURES]]
    for answer in answers:
        if answer.findings.nearest_pairs is not None:
            made, training = answer.findings.nearest_pairs
            rows |= {
                f"{answer.cohort}: nearest": made[:PICTURES],
                f"{answer.cohort}: in training": training[:PICTURES],
            }
    return rows


def _settings_by_prefix(settings: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of each protocol in `names` and of the classifier.

    Raises:
      ValueError: a setting without a prefix, or with one that is unknown or not asked for.
    """
    by_prefix: dict[str, dict[str, Any]] = {name: {} for name in (CLASSIFIER, *names)}
    for setting, value in parse_settings(settings).items():
        prefix, dot, name = setting.partition(".")
        if not dot or prefix not in (CLASSIFIER, *PROTOCOLS):
            raise ValueError(
                f"--set={setting} expects PROTOCOL.NAME=VALUE or {CLASSIFIER}.NAME=VALUE; "
                f"{nearest_name(prefix, (CLASSIFIER, *PROTOCOLS))}"
            )
        if prefix not in by_prefix:
            raise ValueError(
                f"--set={setting} would have no effect: --protocols={','.join(names)} does not ask for {prefix}"
            )
        by_prefix[prefix][name] = value
    return by_prefix


def _evaluation(arguments: EvaluateArguments, classifier: dict[str, Any]) -> "Evaluation":
    from tfcxr.evaluation.evaluation import Evaluation
    from tfcxr.evaluation.extractors.classifier_config import make_classifier_config

    label_map = _label_map(arguments.label_map)
    try:
        seeds = tuple(int(seed) for seed in arguments.classifier_seeds)
    except ValueError as error:
        given = ",".join(arguments.classifier_seeds)
        raise ValueError(f"--classifier_seeds expects whole numbers such as 0,1,2, got {given}") from error
    return (
        Evaluation(
            synthetic_dirs=_named_folders("synthetic_dir", arguments.synthetic_dir),
            real_dir=pathlib.Path(arguments.real_dir),
            out_dir=pathlib.Path(arguments.out_dir),
            classifier=make_classifier_config(arguments.classifier, classifier),
            test_dirs=_test_folders(arguments.test_dir),
            synthetic_splits=arguments.synthetic_splits,
            train_splits=arguments.train_splits,
            validation_splits=arguments.validation_splits,
            test_splits=arguments.test_splits,
            labels=tuple(name.strip() for name in arguments.labels),
            classifier_seeds=seeds,
            extractors=arguments.extractor,
            extractor_dir=pathlib.Path(arguments.extractor_dir) if arguments.extractor_dir else None,
            label_map=label_map,
            allow_shared_patients=arguments.allow_shared_patients,
        )
        .at_one_size()
        .with_mapped_labels()
    )


def _label_map(given: Sequence[str]) -> dict[str, str]:
    """Names by other names."""
    names: dict[str, str] = {}
    for text in given:
        theirs, colon, ours = (part.strip() for part in text.partition(":"))
        if not (theirs and colon and ours) or ":" in ours:
            raise ValueError(f"--label_map expects THEIRS:OURS such as COVID:PNEUMONIA, got {text!r}")
        if theirs in names:
            raise ValueError(f"--label_map maps one label twice: {','.join(given)}")
        names[theirs] = ours
    return names


def _test_folders(given: Sequence[str]) -> dict[str, pathlib.Path]:
    """Test data sets by name; the only one has no name unless it is given one."""
    if len(given) == 1 and not name_and_path(given[0])[0]:
        return {"": pathlib.Path(given[0])}
    return _named_folders("test_dir", given)


def _named_folders(flag_name: str, given: Sequence[str]) -> dict[str, pathlib.Path]:
    """Data folders by name; one without a name is called as its folder is, such as acgan of cohorts/acgan/64."""
    folders: dict[str, pathlib.Path] = {}
    for text in given:
        name, folder = name_and_path(text)
        path = pathlib.Path(folder)
        name = name or (path.resolve().parent.name if path.name.isdecimal() else path.resolve().name)
        if name in folders:
            raise ValueError(f"--{flag_name} names two folders {name!r}; give each as NAME=FOLDER")
        folders[name] = path
    return folders


if __name__ == "__main__":
    command_line.run(evaluate)

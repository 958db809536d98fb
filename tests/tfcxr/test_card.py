"""croissant.json for a folder that lacks it, and what an evaluation found in the card of an exported model."""

import hashlib
import json
import math
import shutil

import pytest

from tfcxr import command_line
from tfcxr.card import CardArguments, card
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.report.report import Answer, Findings, write_report
from tfcxr.evaluation.report.score import Score
from tfcxr.serving.model_card import read_description

AUC = Score(
    metric="auc", value=0.9876, low=0.9, high=0.99, of_real=0.95, images=60, better="higher", subject="synthetic",
    split="test", is_headline=True,
)  # fmt: skip
COPIES = Score(metric="copies", value=0.012, images=60, better="lower", extractor="pixels", is_headline=True)
C_T = Score(metric="c_t", value=-0.5, images=60, better="real", extractor="pixels")


@pytest.fixture
def model(tiny_export, tmp_path):
    """A copy of the export that may be changed, in `tiny/1`."""
    shutil.copytree(tiny_export, tmp_path / "tiny" / "1")
    return tmp_path / "tiny" / "1"


def facts(weights, folder="/home/someone/cohort"):
    provenance = {
        "saved_model": "tiny/1",
        "weights_sha256": weights,
        "seed": 3,
        "truncation": 0.7,
        "acceptance_rate": 1,
    }
    common = {"splits": ["train"], "patients": None, "sha256": "ab"}
    real = {"name": "discs", "folder": "/home/someone/records", "images": 48, "provenance": {}, **common}
    synthetic = {"name": "tiny", "folder": folder, "images": 40, "provenance": provenance, **common}
    return {"synthetic": synthetic, "real": real, "validation": None, "test: test": real | {"splits": ["test"]}}


def write(folder, cohorts, protocols=("tstr", "memorization"), shared=()):
    """A report of the cohorts, name -> SHA-256 of the weights of their model."""
    folder.mkdir(exist_ok=True)
    common = {"title": "T", "data": {}, "introduction": "", "parts": [], "shared_patients": shared}
    answers = []
    for name, weights in cohorts.items():
        found = {
            "tstr": Findings(verdict=[f"{name} is worth it.", "More."], scores=[AUC], cohorts=facts(weights), **common),
            "memorization": Findings(
                verdict=["By pixels, <b>no more</b> than\nchance."],
                scores=[COPIES, C_T],
                cohorts=facts(weights),
                **common,
            ),
        }
        answers += [Answer(protocol=protocol, cohort=name, findings=found[protocol]) for protocol in protocols]
    if len(cohorts) > 1:
        roles = {name: facts(weights)["synthetic"] for name, weights in cohorts.items()}
        ranking = Findings(verdict=["A ranking."], cohorts=roles, **common)
        answers.append(Answer(protocol="ranking", cohort=", ".join(cohorts), findings=ranking))
    write_report(Evaluation(dict.fromkeys(cohorts, folder), folder, folder), answers)
    return folder / "report.json"


def complete(model, report, **changes):
    return card(CardArguments(saved_model=str(model), report=str(report), **changes)).read_text()


def test_a_folder_gets_the_file_that_a_build_writes(disc_records, tmp_path, capsys):
    shutil.copytree(disc_records, tmp_path / "32")
    written = (tmp_path / "32" / "croissant.json").read_bytes()
    (tmp_path / "32" / "croissant.json").unlink()
    path = card(CardArguments(data_dir=str(tmp_path / "32")))
    assert path.read_bytes() == written and capsys.readouterr().out == f"{path}\n"


def test_the_model_card_gains_verdict_headlines_and_memorization(model, tmp_path):
    before = (model / "README.md").read_text()
    assert "Only a memorization result above, if any, tested that." in before
    report = write(tmp_path / "eval", {"acgan": read_description(model).weights_sha256})
    after = complete(model.parent, report.parent)  # the newest version, and the report's folder
    section = after.split("## Evaluation\n")[1].split("## Limits")[0]
    assert after.index("## Evaluation") < after.index("### Memorization") < after.index("## Limits")
    assert "- acgan is worth it.\n" in section and "More." not in section
    assert "| tstr | auc | synthetic, test | 0.9876 | 0.9 to 0.99 | 0.95 | 60 | higher |" in section
    assert "| memorization | copies | pixels | 0.012 |  |  | 60 | lower |" in section and "c_t" not in section
    assert "- By pixels, &lt;b>no more&lt;/b> than chance.\n" in section
    assert "| cohort | acgan, seed 3, truncation 0.7, acceptance rate 1 |" in section
    assert "| real images | discs, splits train, test |" in section
    assert hashlib.sha256(report.read_bytes()).hexdigest() in section
    assert "/home/someone" not in after and "NOT patient-disjoint" not in after
    assert after.startswith(before.split("## Limits")[0].rstrip()) and after.endswith(before.split("## Limits")[1])


def test_run_again_it_replaces_the_section(model, tmp_path):
    weights = read_description(model).weights_sha256
    first = complete(model, write(tmp_path / "one", {"first": weights}))
    assert complete(model, tmp_path / "one") == first
    second = complete(model, write(tmp_path / "two", {"second": weights}))
    assert "first is worth it" not in second and second.count("## Evaluation") == 1
    assert complete(model, tmp_path / "one") == first


def test_what_was_not_tested_and_who_was_seen_is_said(model, tmp_path):
    weights = read_description(model).weights_sha256
    report = write(tmp_path / "eval", {"acgan": weights}, ["tstr"], ["2 of the 9 patients of /home/someone are both"])
    text = complete(model, report)
    assert "Not tested: the report holds no memorization result of this cohort" in text
    assert "> NOT patient-disjoint: the generator or a classifier was trained on patients" in text
    assert "/home/someone" not in text


def test_of_several_cohorts_the_models_own_is_taken(model, tmp_path):
    weights = read_description(model).weights_sha256
    report = write(tmp_path / "eval", {"other": "f" * 64, "mine": weights})
    text = complete(model, report)
    assert "mine is worth it." in text and "other is worth it." not in text and "A ranking." not in text
    report = write(tmp_path / "both", {"one": weights, "two": weights})
    with pytest.raises(ValueError, match="tiny/1 generated one, two; choose one with --cohort"):
        complete(model, report)
    assert "two is worth it." in complete(model, report, cohort="two")


def test_cohorts_of_other_models_are_refused_and_the_card_stays(model, tmp_path):
    before = (model / "README.md").read_bytes()
    weights = read_description(model).weights_sha256
    report = write(tmp_path / "eval", {"other": "f" * 64, "mine": weights})
    message = f"tiny/1 generated no cohort of this report: SHA-256 .* with {weights[:12]}, but other has ffffffffffff;"
    with pytest.raises(ValueError, match=message):
        complete(model, report, cohort="other")
    with pytest.raises(ValueError, match="the report holds no cohort 'mien'; did you mean 'mine'"):
        complete(model, report, cohort="mien")
    content = json.loads(report.read_text())
    for found in content["protocols"].values():
        for findings in found.values():
            findings["cohorts"] = {}  # as of images from nobody knows where
    report.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="but other has none, mine has none; give the model that generated"):
        complete(model, report)
    assert (model / "README.md").read_bytes() == before


REPORTS = {
    "{": "is no report of python -m tfcxr.evaluate: ",
    "[]": "it holds no protocols",
    '{"version": 1}': "it holds no protocols",
    '{"version": 2, "protocols": {}}': "is a report of version 2, expected 1; evaluate again with --overwrite",
    '{"protocols": {}}': "is a report of version unknown, expected 1",
    '{"version": 1, "protocols": {}}': "but there is no cohort; give the model",
}


@pytest.mark.parametrize("text", REPORTS)
def test_other_files_are_refused_as_reports(model, tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=REPORTS[text]):
        complete(model, tmp_path)


def test_what_is_missing_is_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="report .*none does not exist; python -m tfcxr.evaluate writes one"):
        complete(model, tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no exported model"):
        complete(tmp_path, tmp_path)
    (model / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match="has no model card, README.md; export the model again"):
        complete(model, tmp_path)
    with pytest.raises(FileNotFoundError, match="has no dataset_info.json"):
        card(CardArguments(data_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "error: give --data_dir of a data folder, or --saved_model and --report"),
        (["--saved_model=a"], "error: give --data_dir of a data folder, or --saved_model and --report"),
        (["--report=a", "--cohort=b"], "error: give --data_dir of a data folder, or --saved_model and --report"),
        (["--data_dir=a", "--saved_model=b"], "error: --saved_model would have no effect: --data_dir has no model"),
    ],
)
def test_flags_that_do_not_belong_together_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.run(card, ["card", *flags])
    assert end.value.code == 1 and message in capsys.readouterr().err


def test_a_score_without_a_value_has_an_empty_cell(model, tmp_path):
    path = write(tmp_path / "eval", {"acgan": read_description(model).weights_sha256})
    report = json.loads(path.read_text())
    assert math.isnan(COPIES.low) and report["scores"][1]["low"] is None
    report["scores"][0]["value"] = None
    path.write_text(json.dumps(report))
    assert "| tstr | auc | synthetic, test |  | 0.9 to 0.99 |" in complete(model, path)

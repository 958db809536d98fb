"""What the rare label of a frontier says: sentences, a table with a plot, and rows of scores.csv for each test set.

A cell is what one mix scored: "name", "real_positives", "synthetic_images", "ratio" and "is_ceiling"; "auc",
"sensitivity" and "specificity" with "mean" and "interval"; "gain" with "p" and "adjusted_p" where images were added.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.evaluation.protocols.frontier_verdict import LEVEL
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.interval_plots import interval_lines
from tfcxr.evaluation.report.score import Score
from tfcxr.evaluation.scores import score_text

MEASURES = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}

Cell = Mapping[str, Any]


def sentences(label: str, split: str, cells: Sequence[Cell]) -> list[str]:
    """The best gain of each number of real images of the label, beside all real ones."""
    ceiling, said = next(cell for cell in cells if cell["is_ceiling"]), []
    for alone in (cell for cell in cells if not cell["ratio"] and not cell["is_ceiling"]):
        first = (
            f"On real patients of {split}, {alone['real_positives']} real images of {label} teach AUC "
            f"{score_text(alone['auc'])} and sensitivity {score_text(alone['sensitivity'])}"
        )
        last = (
            f"all {ceiling['real_positives']} real ones teach AUC {score_text(ceiling['auc'])} and sensitivity "
            f"{score_text(ceiling['sensitivity'])}"
        )
        mixed = [cell for cell in _of_count(cells, alone["real_positives"]) if cell["ratio"]]
        if not mixed:
            said.append(f"{first}; {last}.")
            continue
        best = max(mixed, key=lambda cell: cell["gain"]["mean"])
        told = "no gain can be told"
        if best["gain"]["adjusted_p"] < LEVEL:
            told = "a gain" if best["gain"]["mean"] > 0 else "a loss, and every other ratio loses more"
        said.append(
            f"{first}; {best['synthetic_images']} synthetic ones add {score_text(best['gain'])} to the AUC, with "
            f"sensitivity {score_text(best['sensitivity'])}: {told} (p {best['gain']['adjusted_p']:.3f}); {last}."
        )
    return said


def page_parts(label: str, tests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """HTML, of the plain content of report.json."""
    parts = []
    header = [f"real {html.text(label)}", "synthetic", *(f"{title} &uarr;" for title in MEASURES.values())]
    header += ["gain in AUC", "p", "p, Holm"]
    for split, test in tests.items():
        rows = [
            [
                f"{cell['real_positives']}{' (all)' if cell['is_ceiling'] else ''}",
                html.text(cell["synthetic_images"]),
                *(html.estimate(cell[name]) for name in MEASURES),
                html.estimate(cell.get("gain"), "+.3f") if cell["ratio"] else "",
                *(html.number(cell["gain"][name]) if cell["ratio"] else "" for name in ("p", "adjusted_p")),
            ]
            for cell in test["cells"]
        ]
        positives = test["positives"][label]
        caption = f"{test['images']} test images, {positives} of them with {label}; 95 % intervals by patient"
        parts += [f"<h2>Real patients of {html.text(split)}</h2>", html.table(header, rows, caption)]
        parts.append(html.picture(_plot(label, test["cells"]), "AUC, sensitivity and specificity by ratio"))
    return parts


def report_scores(label: str, split: str, test: Mapping[str, Any], passport: Mapping[str, Any]) -> list[Score]:
    """Every score of each mix beside that of all real images; the head of the page has the highest ratio's gain."""
    cells, scores = test["cells"], []
    ceiling = next(cell for cell in cells if cell["is_ceiling"])
    headline = max(cells, key=lambda cell: (cell["ratio"], -cell["real_positives"]))
    for cell in cells:
        values = {f"minority_{name}": (cell[name], ceiling[name]["mean"]) for name in MEASURES}
        if cell["ratio"]:
            alone = next(one for one in _of_count(cells, cell["real_positives"]) if not one["ratio"])
            values["minority_auc_gain"] = cell["gain"], ceiling["auc"]["mean"] - alone["auc"]["mean"]
        for name, (summary, of_real) in values.items():
            score = Score(
                metric=name,
                value=summary["mean"],
                low=summary["interval"][0],
                high=summary["interval"][1],
                of_real=of_real,
                images=test["images"],
                better="higher",
                subject=cell["name"],
                split=split,
                label=label,
                passport=passport,
                is_headline=cell is headline and name.endswith("gain"),
            )
            scores.append(score)
    return scores


def _plot(label: str, cells: Sequence[Cell]) -> bytes:
    ceiling = next(cell for cell in cells if cell["is_ceiling"])
    counts = dict.fromkeys(cell["real_positives"] for cell in cells if not cell["is_ceiling"])
    panels = {
        title: {
            f"{count} real {label}": [
                (cell["ratio"], cell[name]["mean"], *cell[name]["interval"])
                for cell in _of_count(cells, count)
                if None not in (cell[name]["mean"], *cell[name]["interval"])
            ]
            for count in counts
        }
        for name, title in MEASURES.items()
    }
    references = {
        title: (ceiling["name"], ceiling[name]["mean"])
        for name, title in MEASURES.items()
        if ceiling[name]["mean"] is not None
    }
    return interval_lines(panels, f"synthetic : real {label}", references)


def _of_count(cells: Sequence[Cell], count: int) -> list[Cell]:
    """The mixes with one number of real images of the label."""
    return [cell for cell in cells if cell["real_positives"] == count and not cell["is_ceiling"]]

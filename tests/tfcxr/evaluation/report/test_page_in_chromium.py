"""The page in a browser: nothing runs over the edge of a phone, every picture is drawn, and no script is needed."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Answer, Findings, write_report
from tfcxr.evaluation.report.score import Score

CHROMIUM = shutil.which("chromium")
PHONE, DESK = 360, 1200  # pixels
pytestmark = pytest.mark.thorough
MEASURE = """<script>
document.documentElement.style.width = 'WIDTHpx';
const images = [...document.images], shown = [...document.querySelectorAll('body *')];
const edges = shown.filter(e => !e.parentElement.closest('.wide')).map(e => e.getBoundingClientRect().right);
document.title = ['measured', Math.ceil(Math.max(...edges)), images.length,
  images.filter(i => i.naturalWidth > 50).length, document.querySelector('.wide').scrollWidth].join(' ');
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with a wide table, long sentences and a grid of pictures."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (8, 32, 32, 1)).astype(np.uint8)
    score = Score(metric="frechet", value=1.5, low=1, high=2, images=500, better="lower", is_headline=True)
    findings = Findings(
        title="Distances",
        verdict=["Synthetic images can be told from real ones. " * 5, "More."],
        data={},
        introduction="",
        parts=[
            html.table([f"column {index}" for index in range(20)], [["1.2345"] * 20]),
            html.picture(plots.image_rows({"a": images}), "images"),
        ],
        cohorts={"real": {"name": "n", "splits": ["train"], "images": 1, "patients": 1, "sha256": "ab" * 32}},
        scores=[score],
    )
    names = [f"cohort_{letter}" for letter in "abcdef"]
    answers = [Answer(protocol="distances", cohort=name, findings=findings) for name in names]
    write_report(Evaluation(dict.fromkeys(names, folder), folder, folder), answers, (), dict.fromkeys("ab", images))
    return folder / "report.html"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_runs_over_the_edge(page, width):
    copy = page.with_name(f"{width}.html")
    copy.write_text(page.read_text() + MEASURE.replace("WIDTH", str(width)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}", "--dump-dom"]
    shown = subprocess.run([CHROMIUM, *flags, copy.as_uri()], capture_output=True, text=True, timeout=120).stdout
    measured, images, drawn, wide = map(int, re.search(r"measured (\d+) (\d+) (\d+) (\d+)", shown).groups())
    assert measured <= width and images == drawn == 1 + 6, "the head's grid and a picture of each cohort"
    assert wide > 0 and "<script" not in page.read_text()

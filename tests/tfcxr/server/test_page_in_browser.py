"""The page as a reader sees and uses it, in Chromium: by mouse and keyboard, small and wide, light and dark."""

import contextlib
import io
import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from PIL import Image

from tfcxr.data.png_writer import png_bytes
from tfcxr.data.synthetic_facts import SyntheticFacts
from tfcxr.server.access import Access
from tfcxr.server.served_models import models_in
from tfcxr.server.server import Server, ServerOptions
from tfcxr.serving.model_card import read_description

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = sync_api.expect
pytestmark = pytest.mark.thorough
SECONDS = 60_000.0  # milliseconds that a busy machine may take
TOKEN = "not-a-secret"
PICTURES = "#pictures .frame img"
# how far parts of the page moved by themselves, and which
LAYOUT_SHIFT = """() => new Promise((resolve) => {
  let [sum, moved] = [0, []];
  new PerformanceObserver((list) => {
    for (const { value, sources } of list.getEntries()) {
      sum += value;
      moved.push(...sources.map(({ node }) => node?.id || node?.className || node?.nodeName));
    }
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve([sum, moved]), 200);
})"""
UNNAMED = """() => [...document.querySelectorAll("button, input, select, img, progress, dialog")].filter((element) =>
  !(element.labels?.length || element.textContent.trim() || element.getAttribute("aria-label") || element.alt ||
    element.getAttribute("aria-labelledby"))).map((element) => element.outerHTML)"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(saved_models: pathlib.Path, disc_records: pathlib.Path, write_records, tmp_path_factory) -> Iterator[str]:
    """Of a server of `saved_models`, a real data set and a synthetic cohort."""
    cohort = tmp_path_factory.mktemp("cohort") / "32"
    provenance = {"saved_model": "tiny/1", "weights_sha256": "ab" * 32}
    write_records(cohort, {"train": 30}, is_synthetic=True, name="tiny", provenance=provenance)
    options = ServerOptions(
        lambda: models_in(saved_models), grpc_port=None, poll_seconds=0, cohorts=(str(disc_records), str(cohort))
    )
    with Server(options) as server:
        yield f"http://{server.rest_address}/"


@pytest.fixture
def open_page(browser):
    """A function that opens an address; the test fails on any error in the page's console."""
    errors: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_address(address: str, change=lambda page: None, **context):
            opened = browser.new_context(**context)
            stack.callback(opened.close)
            opened.set_default_timeout(SECONDS)
            page = opened.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: message.type == "error" and errors.append(message.text))
            change(page)
            page.goto(address)
            return page

        open_address.errors = errors
        yield open_address
    assert errors == []


@pytest.fixture
def page(open_page, address):
    """The page with its first pictures."""
    opened = open_page(address)
    expect(opened.locator("#generate-status")).to_contain_text("12 pictures", timeout=SECONDS)
    return opened


def shown_pixels(page, selector: str) -> np.ndarray:
    """Greys of the picture that an image element shows, uint8 [height, width]."""
    numbers = page.locator(selector).evaluate(
        """(image) => {
          const canvas = Object.assign(document.createElement("canvas"),
            { width: image.naturalWidth, height: image.naturalHeight });
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          return Array.from({ length: data.length / 4 }, (_, index) => data[4 * index]);
        }"""
    )
    size = round(len(numbers) ** 0.5)
    return np.uint8(numbers).reshape(size, size)


def test_a_grid_appears_and_every_picture_is_marked(page):
    pictures = page.locator("#pictures .picture")
    expect(pictures).to_have_count(12)
    for picture in pictures.all():
        assert picture.locator(".mark").inner_text() == "SYNTHETIC"
        caption = picture.locator("figcaption").inner_text()
        for part in ("asked for: NORMAL", "tiny/1, weights ", "synthetic; shows no patient"):
            assert part in caption
    expect(page.locator(PICTURES).first).to_have_attribute(
        "alt", "Synthetic chest radiograph, seed 1, asked for NORMAL"
    )
    expect(page.locator(".banner")).to_contain_text("For research and teaching only")
    assert not np.array_equal(shown_pixels(page, f"{PICTURES} >> nth=0"), shown_pixels(page, f"{PICTURES} >> nth=1"))


def test_labels_truncation_and_seeds_are_asked_for(page):
    asked = []
    page.on("request", lambda request: request.url.endswith(":predict") and asked.append(request.post_data_json))
    page.get_by_label("PNEUMONIA").check()
    page.get_by_label("Truncation").fill("0.4")
    expect(page.locator("#truncation-value")).to_have_text("0.40")
    page.get_by_label("First seed").fill("20")
    page.locator("#count").fill("3")
    page.locator("#count").press("Enter")
    expect(page.locator("#generate-status")).to_contain_text("3 pictures", timeout=SECONDS)
    assert sorted(request["inputs"]["seed"] for request in asked) == [[20], [21], [22]]
    assert {json.dumps(request["inputs"]["label"]) for request in asked} == {"[[0, 1]]"}
    assert {request["inputs"]["truncation"] for request in asked} == {0.4}
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_label("First seed")).to_have_value("23")
    page.get_by_role("button", name="Previous", exact=True).click()
    expect(page.get_by_label("First seed")).to_have_value("20")
    page.get_by_role("button", name="Random").click()
    expect(page.get_by_label("First seed")).not_to_have_value("20")
    expect(page.locator("#generate-status")).to_contain_text("3 pictures", timeout=SECONDS)


def test_joint_labels_and_conditions_become_a_row(open_page, address):
    asked = []

    def change(page):
        def models(route):
            document = route.fetch().json()
            facts = document["models"][1]["versions"][0]
            facts["is_single_label"] = False
            facts["conditions"] = [
                {
                    "name": "sex",
                    "unknown": [0.5],
                    "choices": [{"text": "F", "values": [1]}, {"text": "M", "values": [0]}],
                },
                {"name": "age", "unknown": [0.5], "scale": 100},
            ]
            route.fulfill(json=document)

        def predict(route):
            asked.append(route.request.post_data_json["inputs"]["label"])
            route.fulfill(json={"outputs": [{"b64": ""}]})

        page.route("**/page/models", models)
        page.route("**:predict", predict)

    page = open_page(address, change)
    expect(page.locator("#generate-status")).to_contain_text("12 pictures", timeout=SECONDS)
    assert asked[0] == [[0, 0, 0.5, 0.5]]
    asked.clear()
    for label in ("NORMAL", "PNEUMONIA"):
        page.get_by_label(label).check()
    page.get_by_label("sex").select_option("M")
    page.get_by_label("age, years").fill("60")
    page.locator("#draw").click()
    expect(page.locator("#pictures figcaption").last).to_contain_text("NORMAL + PNEUMONIA + sex M + age 60")
    assert asked[0] == [[1, 1, 0, 0.6]]


def test_enter_enlarges_arrows_turn_and_escape_returns_the_focus(page):
    opener = page.locator("#pictures .frame").nth(2)
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(page.locator("#enlarged-title")).to_have_text("Seed 3")
    expect(dialog.locator(".mark")).to_have_text("SYNTHETIC")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#enlarged-title")).to_have_text("Seed 4")
    for _ in range(12):  # the focus stays inside
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_downloads_hold_the_pixels_that_are_shown_and_say_what_they_are(page, tiny_export):
    page.get_by_label("Truncation").fill("0.5")
    page.locator("#draw").click()
    expect(page.locator("#generate-status")).to_contain_text("12 pictures", timeout=SECONDS)
    page.locator("#pictures .frame").first.click()
    shown = shown_pixels(page, "#enlarged-picture img")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    assert download.value.suggested_filename == "tiny-1-seed-1-synthetic.png"
    with Image.open(download.value.path()) as picture:
        np.testing.assert_array_equal(np.asarray(picture), shown)
        told = picture.text["tfcxr"]
    facts = SyntheticFacts("tiny/1", read_description(tiny_export).weights_sha256, ("NORMAL",), 1, 0.5)
    with Image.open(io.BytesIO(png_bytes(shown, facts))) as picture:
        assert json.loads(told) == json.loads(picture.text["tfcxr"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Download DICOM").click()
    dataset = pydicom.dcmread(io.BytesIO(pathlib.Path(download.value.path()).read_bytes()))
    np.testing.assert_array_equal(dataset.pixel_array, shown)


def test_a_walk_begins_and_ends_at_the_pictures_of_its_seeds(page):
    page.get_by_label("From seed").fill("1")
    page.get_by_label("to seed", exact=True).fill("2")
    page.locator("#walk-count").fill("3")
    page.get_by_role("button", name="Walk").click()
    walked = []
    for place in ("0", "1", "2"):
        page.locator("#walk-position").fill(place)
        expect(page.locator("#walk-picture .frame")).to_be_enabled(timeout=SECONDS)
        walked.append(shown_pixels(page, "#walk-picture img"))
    for index, seed in ((0, 0), (2, 1)):
        np.testing.assert_array_equal(walked[index], shown_pixels(page, f"{PICTURES} >> nth={seed}"))
    assert not np.array_equal(walked[0], walked[1]) and not np.array_equal(walked[2], walked[1])
    expect(page.locator("#walk-picture .mark")).to_have_text("SYNTHETIC")
    page.locator("#walk-picture .frame").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    with Image.open(download.value.path()) as picture:
        facts = json.loads(picture.text["tfcxr"])
    assert facts["synthetic"] and (facts["from_seed"], facts["to_seed"], facts["position"]) == (1, 2, 1)
    expect(page.get_by_role("button", name="Download DICOM")).to_be_hidden()


def test_facts_in_a_png_file_may_have_any_letters(page):
    write = """async ([png, facts]) => {
      const { withFacts } = await import("/page/static/png_text.js");
      return [...new Uint8Array(await withFacts(Uint8Array.from(png), facts).arrayBuffer())];
    }"""
    plain = png_bytes(np.zeros([2, 2], np.uint8), None)
    with Image.open(io.BytesIO(bytes(page.evaluate(write, [list(plain), {"labels": ["ä, 肺"]}])))) as picture:
        picture.verify()  # checksums of all chunks
        assert json.loads(picture.info["tfcxr"]) == {"labels": ["ä, 肺"]}


def test_interpolation_is_spherical(page):
    at = "async ([from, to, place]) => (await import('/page/static/latents.js')).slerp(from, to, place)"
    np.testing.assert_allclose(page.evaluate(at, [[2, 0], [0, 2], 0.5]), [2**0.5, 2**0.5], atol=1e-12)
    np.testing.assert_allclose(page.evaluate(at, [[1, 0], [0, 1], 1 / 3]), [np.cos(np.pi / 6), 0.5], atol=1e-12)
    np.testing.assert_allclose(page.evaluate(at, [[1, 2], [1, 2], 0.3]), [1, 2], atol=1e-12)


def test_a_refusal_is_one_sentence_in_a_live_region(open_page, address):
    def change(page):
        answer = {"error": "256 requests are waiting already; try again in a moment"}
        page.route("**:predict", lambda route: route.fulfill(status=429, json=answer))

    page = open_page(address, change)
    alert = page.get_by_role("alert").first
    expect(alert).to_have_text("256 requests are waiting already; try again in a moment", timeout=SECONDS)
    expect(page.locator("#pictures .why-not")).to_have_count(12)
    page.unroute("**:predict")
    page.locator("#draw").click()
    expect(page.locator("#generate-status")).to_contain_text("12 pictures", timeout=SECONDS)
    expect(page.locator("#error")).to_be_empty()
    open_page.errors[:] = [text for text in open_page.errors if "429" not in text]  # the browser logs each


def test_a_copy_of_a_training_image_is_not_shown(open_page, address):
    outputs = {"png_bytes": [{"b64": ""}], "is_accepted": [False], "copies_refused": [5], "tries": [5]}

    def change(page):
        page.route("**:predict", lambda route: route.fulfill(json={"outputs": outputs}))

    page = open_page(address, change)
    refusals = page.locator("#pictures .why-not")
    expect(refusals).to_have_count(12, timeout=SECONDS)
    expect(refusals.first).to_have_text("Every candidate was a copy of a training image, so none is shown.")
    expect(page.locator(PICTURES)).to_have_count(0)


def test_real_and_synthetic_pictures_of_cohorts_are_marked(page):
    page.get_by_role("link", name="Cohorts").click()
    expect(page.locator("#cohort-status")).to_have_text("1 to 16 of 16", timeout=SECONDS)
    assert set(page.locator("#cohort-pictures .mark").all_inner_texts()) == {"REAL"}
    expect(page.locator("#cohort-pictures img")).to_have_count(16)
    page.locator("#cohort-label").select_option("PNEUMONIA")
    expect(page.locator("#cohort-status")).to_have_text("1 to 8 of 8")
    assert all("labels: PNEUMONIA" in text for text in page.locator("#cohort-pictures figcaption").all_inner_texts())
    page.locator("#cohort").select_option(label="synthetic: tiny, 32 px")
    expect(page.locator("#cohort-status")).to_have_text("1 to 24 of 30", timeout=SECONDS)
    assert set(page.locator("#cohort-pictures .mark").all_inner_texts()) == {"SYNTHETIC"}
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#cohort-status")).to_have_text("25 to 30 of 30")
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.locator("#cohort-pictures .frame").first.click()
    expect(page.get_by_role("dialog").locator("dl")).to_contain_text("synthetic; shows no patient")
    expect(page.get_by_role("button", name="Download PNG")).to_be_hidden()


def test_the_card_is_shown(open_page, address):
    page = open_page(f"{address}#card")
    expect(page.locator("#card-text h3")).to_have_text("tiny, version 1", timeout=SECONDS)
    expect(page.locator("#card-text table")).to_have_count(4)


def test_a_token_is_asked_for_once_and_kept_in_the_tab(open_page, saved_models):
    options = ServerOptions(lambda: models_in(saved_models), grpc_port=None, poll_seconds=0, access=Access(TOKEN))
    with Server(options) as server:
        page = open_page(f"http://{server.rest_address}/")
        expect(page.get_by_role("dialog")).to_be_visible(timeout=SECONDS)
        for token in ("wrong", TOKEN):
            page.locator("#token").fill(token)
            page.locator("#token").press("Enter")
            if token != TOKEN:
                expect(page.locator("#token-refused")).to_have_text("The server refused that token.")
        expect(page.locator("#generate-status")).to_contain_text("12 pictures", timeout=SECONDS)
        page.reload()
        expect(page.locator("#generate-status")).to_contain_text("12 pictures", timeout=SECONDS)
        assert page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]") == [0, 1, ""]
    open_page.errors[:] = [text for text in open_page.errors if "401" not in text]  # the browser logs each


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read_at_every_width_and_in_the_dark(open_page, address, width, scheme, least_contrast):
    page = open_page(address, viewport={"width": width, "height": 800}, color_scheme=scheme)
    views = page.locator("nav a").evaluate_all("(links) => links.map((link) => link.hash)")
    assert page.locator(",".join(views)).count() == 0  # else the browser scrolls to that element
    ready = {"generate": "#generate-status:not(:empty)", "cohorts": "#cohort-pictures img", "card": "#card-text h3"}
    for view, selector in ready.items():
        page.goto(f"{address}#{view}")
        page.locator(selector).first.wait_for()
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), view
        contrast, text = page.evaluate(least_contrast)
        assert contrast >= 4.5, f"{view}: {text}"
        assert page.evaluate(UNNAMED) == [], view
        if view == "generate":
            shift, moved = page.evaluate(LAYOUT_SHIFT)
            assert shift < 0.02, moved
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(16, 21, 27)") == (scheme == "dark")

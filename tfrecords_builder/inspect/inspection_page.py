"""An inspection as one HTML file that refers to nothing outside itself; every text that comes from data is escaped."""

import base64
import html
import pathlib

import numpy as np

from tfcxr.data.atomic import write_atomically
from tfrecords_builder.inspect.contact_sheet import draw_contact_sheet
from tfrecords_builder.inspect.inspection import AGE_STEPS, Inspection, facts, tables

PAGE_FILE = "inspection.html"
SHEET_FILE = "contact_sheet.png"
REAL_IMAGES = (
    "This shows images of real patients: keep it private, and share it only as the licence of the data allows."
)
YEARS_PER_BAR = 5
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 1320px; margin: 2em auto; padding: 0 1.2em }
h1 { font-size: 1.5em; margin-bottom: .2em } h2 { margin-top: 1.8em; border-bottom: 1px solid #d8dee4 }
.alarm { color: #b3261e; font-weight: 600; background: #fdecea; border-left: 5px solid #b3261e; padding: .7em 1.1em }
table { border-collapse: collapse; margin: .8em 0 } tr:hover { background: #f6f8fa }
th, td { padding: .25em .8em; border-bottom: 1px solid #e4e8ec; text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #b9c2cb }
.facts td { text-align: left; vertical-align: top; overflow-wrap: anywhere }
.facts td:first-child { white-space: nowrap } .scroll { overflow-x: auto }
.bar { display: inline-block; width: 220px; height: .8em;
  background: #e4e8ec; vertical-align: middle; text-align: left }
.bar i { display: inline-block; height: 100%; vertical-align: top; background: #1f6f8b }
.bar .unknown { background: #e3b341 }
.quiet { color: #57636f; font-size: .92em } img, svg { max-width: 100%; height: auto }
"""


def write_inspection(found: Inspection, out_dir: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes the contact sheet and the page; returns their paths.

    Raises:
      OSError: the folder cannot be written to.
    """
    title = f"{found.info.name}, {found.info.image_size} px, {', '.join(found.read_splits)}"
    sheet = draw_contact_sheet(found.rows, title, warnings(found))
    page_path, sheet_path = pathlib.Path(out_dir) / PAGE_FILE, pathlib.Path(out_dir) / SHEET_FILE
    write_atomically(sheet_path, sheet)
    write_atomically(page_path, render_page(found, sheet))
    return page_path, sheet_path


def warnings(found: Inspection) -> list[str]:
    """The sentences that must stand over everything that shows the images."""
    is_drawn = found.info.is_synthetic or found.info.notice.startswith("PHANTOM")
    return list(filter(None, [found.info.notice, "" if is_drawn else REAL_IMAGES]))


def render_page(found: Inspection, sheet: bytes) -> str:
    """The whole page, with the contact sheet's PNG inside."""
    info = found.info
    kind = "synthetic" if info.is_synthetic else "labels exclude each other" if info.is_single_label else "many labels"
    label_table, *others = tables(found)
    parts = [
        f"<h1>{_text(info.name)}</h1>",
        f"<p class=quiet>{info.image_size} px, {info.bits} bits, {info.encoding}; {kind}.</p>",
        *(f"<p class=alarm>{_text(warning)}</p>" for warning in warnings(found)),
        "<h2>Images and labels</h2>",
        "<p class=quiet>Images with each label, and their share of those whose label is known.</p>",
        _table(*label_table, bars=["", "", *(_label_bar(found, name) for name in info.label_names)]),
        f"<h2>Contact sheet</h2><p class=quiet>Chosen at random from {_text(', '.join(found.read_splits))}.</p>",
        f"<p><img alt='contact sheet' src='data:image/png;base64,{base64.b64encode(sheet).decode()}'></p>",
        "<h2>Ages</h2>",
        _age_histogram(found.ages) if found.ages.any() else "<p class=quiet>No age is known.</p>",
    ]
    for header, rows in others:
        legend = "Images that have both labels; on the diagonal, those that have the one."
        parts.append(f"<h2>Labels together</h2><p class=quiet>{legend}</p>{_table(header, rows)}")
    about = "".join(f"<tr><td>{_text(name)}</td><td>{_text(text)}</td></tr>" for name, text in facts(found).items())
    parts.append(f"<h2>About the data</h2><table class=facts>{about}</table>")
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{_text(info.name)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(header: list[str], rows: list[list[str]], bars: list[str] | None = None) -> str:
    bars = bars or [""] * len(rows)
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}{f'<td>{bar}</td>' if bar else ''}</tr>"
        for row, bar in zip(rows, bars, strict=True)
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _label_bar(found: Inspection, name: str) -> str:
    """A bar over all splits: positive, then unknown, the rest negative."""
    counts = [split.labels[name] for split in found.info.splits.values()]
    total = sum(sum(count.values()) for count in counts) or 1
    positive, unknown = (sum(count[value] for count in counts) / total for value in ("positive", "unknown"))
    title = f"{positive:.1%} positive, {unknown:.1%} unknown"
    return (
        f"<span class=bar title='{title}'><i style='width:{positive:.2%}'></i>"
        f"<i class=unknown style='width:{unknown:.2%}'></i></span>"
    )


def _age_histogram(ages: np.ndarray) -> str:
    """An SVG picture of bars five years wide; `ages` as in `Inspection`, the oldest bar holding 90 years too."""
    steps = YEARS_PER_BAR * AGE_STEPS
    counts = ages[: len(ages) // steps * steps].reshape(-1, steps).sum(axis=1)
    counts[-1] += ages[len(counts) * steps :].sum()
    left, base, bar, tall = 50, 190, 30, 160
    parts = [f"<svg viewBox='0 0 {left + bar * len(counts) + 20} 230' width=640 role=img font-size=12 fill='#57636f'>"]
    for index, count in enumerate(counts):
        height = tall * count / counts.max()
        years = f"{index * YEARS_PER_BAR} to {(index + 1) * YEARS_PER_BAR}"
        parts.append(
            f"<rect x='{left + bar * index + 1}' y='{base - height:.1f}' width='{bar - 2}' height='{height:.1f}' "
            f"fill='#1f6f8b'><title>{years} years: {count} images</title></rect>"
        )
    for index in range(0, len(counts) + 1, 2):
        parts.append(
            f"<text x='{left + bar * index}' y='{base + 17}' text-anchor=middle>{index * YEARS_PER_BAR}</text>"
        )
    parts.append(f"<text x='{left - 6}' y='{base - tall + 5}' text-anchor=end>{counts.max()}</text>")
    parts.append(f"<text x='{left - 6}' y='{base + 4}' text-anchor=end>0</text>")
    parts.append(f"<line x1='{left}' x2='{left + bar * len(counts)}' y1='{base}' y2='{base}' stroke='#57636f'/>")
    parts.append(f"<text x='{left + bar * len(counts) / 2}' y='{base + 36}' text-anchor=middle>years</text></svg>")
    return "".join(parts)


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)

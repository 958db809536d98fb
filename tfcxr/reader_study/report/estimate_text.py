"""Numbers as the report writes them: .73 (.63-.82)."""

import math

from tfcxr.reader_study.statistics.analysis import Estimate


def number_text(value: float | None) -> str:
    """Two decimals without the 0 before the point, fewer from 10 on; "–" where there is no number."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    text = f"{abs(value):.{decimals}f}"
    text = text.removeprefix("0") if text != "0" else text
    return text if value >= 0 or float(text) == 0 else f"-{text}"


def estimate_text(estimate: Estimate) -> str:
    """An estimate with its 95 % interval behind."""
    low, high = number_text(estimate.low), number_text(estimate.high)
    between = " to " if "-" in low + high else "-"
    return f"{number_text(estimate.value)} ({low}{between}{high})"


def p_text(p_value: float) -> str:
    """p = .012, or p < .001."""
    return "p < .001" if p_value < 0.001 else f"p = {p_value:.3f}".replace("= 0.", "= .")

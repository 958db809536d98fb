"""The figures of a benchmark beside those of an earlier one."""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

REGRESSION = 0.9  # a rate below this share of the earlier one is said to be a regression
RATE = "images_per_second"
OF_THE_MACHINE = ("processor", "cpus", "devices", "tensorflow", "keras")


def read_report(path: str | os.PathLike) -> dict[str, Any]:
    """Reads what `tfcxr.benchmark --json` wrote.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file of another kind.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"--against={path} does not exist; expected a file that tfcxr.benchmark --json wrote")
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if not any(_rates(report)):
            raise ValueError(f"no {RATE} in it")
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"--against={path} is not a report of tfcxr.benchmark: {error}") from error
    return report


def compare(report: Mapping[str, Any], earlier: Mapping[str, Any]) -> str:
    """One line per rate that both have, slower ones marked; first what makes the two unlike.

    Args:
      report: of this benchmark: of one model, or model -> its report.
      earlier: what `read_report` gave.

    Raises:
      ValueError: no rate in common, or rates of other settings.
    """
    now, before = dict(_rates(report)), dict(_rates(earlier))
    if not (common := [name for name in now if name in before]):
        raise ValueError(f"nothing to compare: measured {', '.join(now)}, then {', '.join(before)}")
    lines = [*_differences(report, earlier), f"{'against':<24}{'now':>10}{'then':>10}{'ratio':>8}"]
    for name in common:
        ratio = now[name] / before[name]
        mark = f"  slower by {1 - ratio:.0%}" if ratio < REGRESSION else ""
        lines.append(f"{name:<24}{now[name]:>10.1f}{before[name]:>10.1f}{ratio:>8.2f}{mark}")
    slower = sum(now[name] / before[name] < REGRESSION for name in common)
    lines.append(f"{slower} of {len(common)} slower by more than {1 - REGRESSION:.0%}")
    return "\n".join(lines)


def _rates(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Of each measurement, and of each of each model."""
    for name, part in report.items():
        if isinstance(part, Mapping) and RATE in part:
            yield name, float(part[RATE])
        elif isinstance(part, Mapping) and "machine" in part:
            for measurement, rate in _rates(part):
                yield f"{name} {measurement}", rate


def _differences(report: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[str]:
    """In words, of the machines.

    Raises:
      ValueError: of the settings.
    """
    if "machine" not in report:  # of several models
        both = [name for name in report if name in earlier]
        found = [line for name in both for line in _differences(report[name], earlier[name])]
        return list(dict.fromkeys(found))
    for settings in ("settings", "sizes"):
        now, before = report.get(settings, {}), earlier.get(settings, {})
        if changed := [name for name in {**now, **before} if now.get(name) != before.get(name)]:
            name = changed[0]
            raise ValueError(
                f"not comparable: {name} is {now.get(name)} now and was {before.get(name)} then; give equal settings"
            )
    now, then = report["machine"], earlier.get("machine", {})
    return [
        f"another machine or version, so ratios say little: {name} {now.get(name)}, then {then.get(name)}"
        for name in OF_THE_MACHINE
        if now.get(name) != then.get(name)
    ]

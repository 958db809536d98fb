"""The label that says that an image shows none of the others."""

NAMES = ("no finding", "normal")


def is_no_finding(name: str) -> bool:
    """Whether a label is "No Finding", "NORMAL" or the like."""
    return name.lower().replace("_", " ") in NAMES

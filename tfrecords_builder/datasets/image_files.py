"""Which files are named as images, and which of two has a name."""

import pathlib
from collections.abc import Iterable, Iterator

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")


def is_image_name(name: str | pathlib.PurePath) -> bool:
    """Whether a file name ends as that of an image that `images.image_file` reads."""
    return str(name).lower().endswith(IMAGE_SUFFIXES)


def image_files(paths: Iterable[str]) -> Iterator[str]:
    """Those of the paths that are named as images."""
    return filter(is_image_name, paths)

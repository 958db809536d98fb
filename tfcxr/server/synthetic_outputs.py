"""Whether what a signature returns are synthetic images, which then are marked and counted."""

from tfcxr.server.servable import Servable

_IMAGES = {"image", "png_bytes"}  # outputs of our signatures that hold images


def makes_images(servable: Servable, signature: str) -> bool:
    """Whether a signature of one of our own models returns images; of other SavedModels nothing is known."""
    return servable.description is not None and not _IMAGES.isdisjoint(servable.signature_defs[signature].outputs)

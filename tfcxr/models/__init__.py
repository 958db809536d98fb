"""The models by name: one new GAN is one new file here and one line in `MODELS`."""

from tfcxr.models.acgan import ACGAN
from tfcxr.models.base import AdversarialModel

MODELS: dict[str, type[AdversarialModel]] = {
    "acgan": ACGAN,
}

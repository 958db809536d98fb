"""The models by name: a new GAN is one file here and one line in `MODELS`, or elsewhere `MODELS["mine"] = MyGAN`."""

from tfcxr.models.acgan import ACGAN
from tfcxr.models.base import AdversarialModel
from tfcxr.models.cgan import CGAN
from tfcxr.models.pggan import PGGAN
from tfcxr.models.pggan.transfer import TransferPGGAN
from tfcxr.models.srgan import SRGAN
from tfcxr.models.stylegan2 import StyleGAN2
from tfcxr.models.vanilla_gan import VanillaGAN
from tfcxr.models.wgan_gp import WGANGP

MODELS: dict[str, type[AdversarialModel]] = {
    "acgan": ACGAN,
    "cgan": CGAN,
    "pggan": PGGAN,
    "srgan": SRGAN,
    "stylegan2": StyleGAN2,
    "transfer_pggan": TransferPGGAN,
    "vanilla_gan": VanillaGAN,
    "wgan_gp": WGANGP,
}

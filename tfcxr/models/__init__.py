"""The models by name: a new GAN is one file here and one line in `MODELS`, or elsewhere `MODELS["mine"] = MyGAN`."""

from typing import TYPE_CHECKING

from tfcxr.registry import Registry

if TYPE_CHECKING:
    from tfcxr.models.base import AdversarialModel

MODELS: "Registry[type[AdversarialModel]]" = Registry(
    acgan="tfcxr.models.acgan:ACGAN",
    cgan="tfcxr.models.cgan:CGAN",
    pggan="tfcxr.models.pggan:PGGAN",
    srgan="tfcxr.models.srgan:SRGAN",
    stylegan2="tfcxr.models.stylegan2:StyleGAN2",
    transfer_pggan="tfcxr.models.pggan.transfer:TransferPGGAN",
    vanilla_gan="tfcxr.models.vanilla_gan:VanillaGAN",
    wgan_gp="tfcxr.models.wgan_gp:WGANGP",
)

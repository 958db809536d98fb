"""Weights of published PyTorch checkpoints in our networks, without PyTorch.

One format is one file with `port(checkpoint, **options) -> Ported` and one line in `FORMATS`; `checkpoint` is what
`pytorch_file.read_pytorch_file` gave. A line in `REFERENCE_OUTPUTS` says what a format can be compared by.
"""

import functools
from collections.abc import Callable
from typing import Any

from tfcxr.porting import cxr_pggan, densenet, fb_pggan, inception, stylegan2_ada, torchvision_vgg
from tfcxr.porting.ported import Ported
from tfcxr.porting.reference_outputs import backbone_output, pggan_output, stylegan_output

FORMATS: dict[str, Callable[..., Ported]] = {
    "cxr_pggan": cxr_pggan.port,
    "fb_pggan": fb_pggan.port,
    "stylegan2_ada": stylegan2_ada.port,
    "xrv_densenet121": densenet.port_xrv,
    "torchvision_densenet121": densenet.port_torchvision,
    "torchvision_vgg16": torchvision_vgg.port,
    "torchvision_inception_v3": inception.port_torchvision,
    "pytorch_fid_inception_v3": inception.port_pytorch_fid,
}

REFERENCE_OUTPUTS: dict[str, Callable[..., Any]] = {
    "cxr_pggan": pggan_output,
    "fb_pggan": pggan_output,
    "stylegan2_ada": stylegan_output,
    "xrv_densenet121": backbone_output,
    "torchvision_densenet121": backbone_output,
    "torchvision_vgg16": backbone_output,
    "torchvision_inception_v3": backbone_output,
    "pytorch_fid_inception_v3": functools.partial(backbone_output, resizes=True),
}

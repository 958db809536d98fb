"""Weights of published PyTorch checkpoints in our networks, without PyTorch.

One format is one file with `port(checkpoint, **options) -> Ported` and one line in `FORMATS`; `checkpoint` is what
`pytorch_file.read_pytorch_file` gave.
"""

from collections.abc import Callable

from tfcxr.porting import cxr_pggan, densenet, fb_pggan, inception, stylegan2_ada, torchvision_vgg
from tfcxr.porting.ported import Ported

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

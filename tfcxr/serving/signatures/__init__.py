"""The signatures of exported models: each is one file here and one line in `SIGNATURES`.

The exporter, the loader and the model card iterate over the registry, so that a new signature is exported, can be
called by name and stands in the card. A key is the function's name in Python: `tf.saved_model.load(path).generate`.

| function               | signature         | inputs                             | outputs                           |
| ---------------------- | ----------------- | ---------------------------------- | --------------------------------- |
| `generate`             | `serving_default` | `seed` int64 [B], `label` float32  | `image` uint8 [B,H,W,C]           |
|                        |                   | [B,L], `truncation` float32 [] or  |                                   |
|                        |                   | [B]                                |                                   |
| `generate_png`         | `png`             | the same                           | `png_bytes` string [B]            |
| `generate_from_latent` | `latent`          | `z` float32 [B,Z], `label`         | `image` float32 [B,H,W,C]         |
|                        |                   |                                    | in [-1, 1]                        |
| `score`                | `score`           | `image` uint8 [B,H,W,C]; `label`   | `realism` float32 [B],            |
|                        |                   | where the discriminator reads it   | `label_probability` float32 [B,L] |
| `super_resolve`        | `serving_default` | `image` uint8 [B,H,W,C] of any H,W | `image` uint8 [B,H*s,W*s,C]       |
| `super_resolve_png`    | `png`             | the same                           | `png_bytes` string [B]            |

A cascade has `generate` and `generate_png`, which also return `is_accepted` bool [B], `tries` int32 [B] and `seed`
int64 [B]; `realism` float32 [B] where its gate asks the discriminator; `copy_ratio` float32 [B] and `copies_refused`
int32 [B] where it refuses copies. A model without labels has no `label` and no `label_probability`.

`truncation` is one number for all images, or [B], one per image, as a server's row format and batching need it. It is
1 where it is left out: servers read that from the signature's `defaults`, and `loaded.generate(seed, label)` in Python
knows it too. Only `loaded.signatures["serving_default"]` in Python needs all three inputs (TensorFlow 2.21 does not
read `defaults` there).
"""

from tfcxr.serving.signatures.from_latent import FromLatent
from tfcxr.serving.signatures.generate import Generate
from tfcxr.serving.signatures.png import Png
from tfcxr.serving.signatures.score import Score
from tfcxr.serving.signatures.signature import Signature
from tfcxr.serving.signatures.super_resolve import SuperResolve

SIGNATURES: dict[str, Signature] = {
    "generate": Generate(),
    "generate_png": Png(Generate()),
    "generate_from_latent": FromLatent(),
    "score": Score(),
    "super_resolve": SuperResolve(),
    "super_resolve_png": Png(SuperResolve()),
}


def signatures_of(kind: str) -> dict[str, Signature]:
    """Function name -> signature, for models of one kind."""
    return {name: signature for name, signature in SIGNATURES.items() if kind in signature.kinds}

"""`generate_png` and `super_resolve_png`: another signature's images as PNG files."""

from typing import Any

import tensorflow as tf

from tfcxr.serving.signatures.signature import Signature


class Png(Signature):
    """Has the inputs of another signature, and `png_bytes` string [B] in place of its `image`."""

    name = "png"

    def __init__(self, plain: Signature) -> None:
        self._plain = plain
        self.kinds, self.defaults = plain.kinds, plain.defaults
        self.rows_are_independent = plain.rows_are_independent
        self.values = {**plain.values, "png_bytes": "a whole PNG file each"}
        self.meaning = "the same as PNG files"

    def inputs(self, served: Any) -> list[tf.TensorSpec]:
        return self._plain.inputs(served)

    def outputs(self, served: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = self._plain.outputs(served, inputs)
        images = outputs.pop("image")  # uint8 [B,H,W,C]
        pngs = tf.map_fn(tf.io.encode_png, images, fn_output_signature=tf.TensorSpec([], tf.string))
        return {"png_bytes": pngs, **outputs}

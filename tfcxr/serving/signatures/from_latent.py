"""`generate_from_latent`: an image for each z and label."""

from typing import Any

import tensorflow as tf

from tfcxr.serving.signatures.signature import Signature


class FromLatent(Signature):
    """z of any origin -> float32 images in [-1, 1], without truncation."""

    name = "latent"
    kinds = ("generator",)
    meaning = "an image in [-1, 1] for each z and label"
    values = {"z": "normal, mean 0, deviation 1", "label": "0 or 1", "image": "-1 (black) to 1 (white)"}

    def inputs(self, served: Any) -> list[tf.TensorSpec]:
        return [tf.TensorSpec([None, served.latent_size], tf.float32, "z"), *served.label_specs]

    def outputs(self, served: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        label = served.checked_label(inputs, "z")
        return {"image": served.generate_in_chunks(inputs["z"], label, 1.0, tf.identity, tf.float32)}

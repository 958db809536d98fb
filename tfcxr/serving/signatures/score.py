"""`score`: what the discriminator says of images."""

from typing import Any

import tensorflow as tf

from tfcxr.data.pipeline import from_pixels
from tfcxr.serving.signatures.signature import Signature

STDDEV_ROWS = 8  # images scored at once where the discriminator compares them (minibatch stddev)


class Score(Signature):
    """uint8 images -> `realism`, and `label_probability` where the discriminator predicts labels (ACGAN).

    `realism` is the sigmoid of the discriminator's output: the probability of being real for a loss that trains
    probabilities ("log"), only a rank for others (hinge, Wasserstein). Each image has a score of its own, except for a
    discriminator with minibatch stddev: that one compares the images of a request in groups of 8, and fills up the last
    group with copies from the beginning of the request.
    """

    name = "score"
    kinds = ("generator",)
    meaning = "what the discriminator says of images: a training signal, not a calibrated probability"
    values = {
        "image": "0 (black) to 255 (white)",
        "label": "0 or 1",
        "realism": "0 to 1, higher is more like real images",
        "label_probability": "0 to 1",
    }
    rows_are_independent = False  # minibatch stddev compares the images of a request

    def inputs(self, served: Any) -> list[tf.TensorSpec]:
        config = served.model.config
        image = tf.TensorSpec([None, config.image_size, config.image_size, config.channels], tf.uint8, "image")
        return [image, *(served.label_specs if served.model.discriminator_reads_label else [])]

    def outputs(self, served: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scores chunks of one size, the last one filled up with the request's own images."""
        image, label, config = inputs["image"], served.checked_label(inputs, "image"), served.model.config
        chunk_rows = STDDEV_ROWS if config.compares_images else served.chunk_rows
        rows = tf.shape(image)[0]
        chunks = (rows + chunk_rows - 1) // chunk_rows
        filling = tf.range(chunks * chunk_rows) % rows
        images = tf.reshape(tf.gather(image, filling), [chunks, chunk_rows, *image.shape[1:]])
        labels = tf.reshape(tf.gather(label, filling), [chunks, chunk_rows, config.label_width])

        def score_chunk(chunk: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
            realism, label_logits = served.model.score(from_pixels(chunk[0]), chunk[1])
            scores = {"realism": tf.sigmoid(tf.cast(realism, tf.float32)[:, 0])}
            if label_logits is not None:
                probability = tf.nn.softmax if config.is_single_label else tf.sigmoid
                scores["label_probability"] = probability(tf.cast(label_logits, tf.float32))
            return scores

        specs = {"realism": tf.TensorSpec([chunk_rows])}
        if served.model.discriminator_predicts_labels:
            specs["label_probability"] = tf.TensorSpec([chunk_rows, config.label_count])
        scores = tf.map_fn(score_chunk, (images, labels), fn_output_signature=specs, parallel_iterations=1)
        return {name: tf.reshape(score, [-1, *score.shape[2:]])[:rows] for name, score in scores.items()}

"""The phantom's findings can be learned: AUC above .95 each on unseen patients. Twenty minutes; run with -m slow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.evaluation.metrics.classification import roc_auc
from tfrecords_builder.datasets.phantom import Phantom

EPOCHS, BATCH = 10, 32


@pytest.mark.slow
def test_densenet_finds_every_finding_on_unseen_patients_at_128_px():
    reader = Phantom(images=3000, seed=0, image_size=128)
    examples = list(reader.examples())
    patients = np.array([example.patient_id for example in examples])
    images = np.stack([reader.read_image(example).pixels for example in examples])[..., None]
    labels = np.array([example.label for example in examples], np.float32)
    names = np.unique(patients)
    is_test = np.isin(patients, names[: len(names) // 5])

    classifier = make_densenet(len(reader.label_names), EPOCHS * ((~is_test).sum() // BATCH))
    training = tf.data.Dataset.from_tensor_slices((images[~is_test], labels[~is_test])).shuffle(4000, seed=1)
    training = training.batch(BATCH, drop_remainder=True)
    classifier.fit(training.map(lambda image, label: (tf.image.random_flip_left_right(image), label)), epochs=EPOCHS)
    probability = classifier.predict(images[is_test], 64)
    scores = {
        name: float(roc_auc(labels[is_test, index] == 1, probability[:, index])[0])
        for index, name in enumerate(reader.label_names)
    }
    print({name: round(score, 3) for name, score in scores.items()})
    assert min(scores.values()) > 0.95, scores


def make_densenet(label_count: int, steps: int) -> keras.Model:
    """DenseNet-121 from random weights; its moving averages follow faster than by default, for a short training."""
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    try:
        image = keras.Input((128, 128, 1))
        base = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(128, 128, 1), pooling="avg")
        for layer in base.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.9
        features = base(keras.layers.Rescaling(1 / 127.5, -1)(image))
        output = keras.layers.Dense(label_count, activation="sigmoid", dtype="float32")(features)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    model = keras.Model(image, output)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", jit_compile=False)
    return model

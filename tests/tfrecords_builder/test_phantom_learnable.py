"""The phantom's findings can be learned: AUC above .95 each on unseen patients. Run with -m slow."""

import numpy as np
import pytest

from tfcxr.metrics.classification import roc_auc
from tfcxr.protocols.classifier import make_classifier_config, predict, train_classifier
from tfrecords_builder.datasets.phantom import Phantom


@pytest.mark.slow
def test_densenet_finds_every_finding_on_unseen_patients_at_128_px():
    reader = Phantom(images=3000, seed=0, image_size=128)
    examples = list(reader.examples())
    patients = np.array([example.patient_id for example in examples])
    images = np.stack([reader.read_image(example) for example in examples])[..., None]
    labels = np.array([example.label for example in examples], np.float32)
    names = np.unique(patients)
    is_test = np.isin(patients, names[: len(names) // 5])
    settings = {"precision": "mixed_bfloat16", "batch_size": 32, "max_epochs": 8, "patience": 4, "dropout": 0.0}
    classifier = train_classifier(
        make_classifier_config("densenet121", settings),
        images[~is_test],
        labels[~is_test],
        images[is_test],
        labels[is_test],
        is_single_label=False,
        seed=0,
    )
    probability, _ = predict(classifier, images[is_test])
    scores = {
        name: float(roc_auc(labels[is_test, index] == 1, probability[:, index])[0])
        for index, name in enumerate(reader.label_names)
    }
    print({name: round(score, 3) for name, score in scores.items()})
    assert min(scores.values()) > 0.95, scores

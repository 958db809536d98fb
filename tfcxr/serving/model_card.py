"""What a SavedModel says of itself: `model.json` for programs, `README.md` for people."""

import dataclasses
import json
import os
import pathlib
from typing import Any, Literal

DESCRIPTION_FILE = "model.json"
PATIENTS_FILE = "training_patients.txt"


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """What `model.json` beside `saved_model.pb` holds.

    Attributes:
      model: name of the GAN. name, version: of the export, as in `saved_models/<name>/<version>`.
      label_names: order of the `label` input. is_single_label: exactly one of them is 1.
      image_size, channels, latent_size: shapes of the signatures.
      steps, batch_size, seed, settings: of the training.
      data: name, split, notice, licence and fingerprint of the training data.
      weights_sha256: of the exported weights; cohorts are traced to their model by it.
      chunk_rows: images that the exported functions compute at once.
      kind: "generator" draws from seeds, "super_resolution" enlarges images by `scale`, "cascade" does both.
    """

    model: str
    name: str
    version: int
    label_names: tuple[str, ...]
    is_single_label: bool
    image_size: int
    channels: int
    latent_size: int
    steps: int
    batch_size: int
    seed: int
    settings: dict[str, Any]
    data: dict[str, str]
    weights_sha256: str
    chunk_rows: int
    tfcxr_version: str
    tensorflow_version: str
    kind: Literal["generator", "super_resolution", "cascade"] = "generator"
    scale: int = 1

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_description(version_dir: str | os.PathLike) -> ModelDescription:
    """Reads `model.json` of an exported version.

    Raises:
      FileNotFoundError: the folder has none. ValueError: it does not hold the fields of an exported model.
    """
    path = pathlib.Path(version_dir) / DESCRIPTION_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{version_dir} is not an exported model: it has no {DESCRIPTION_FILE}")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return ModelDescription(**(fields | {"label_names": tuple(fields["label_names"])}))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe an exported model: {error}; export it again") from error


def card_text(description: ModelDescription) -> str:
    """The model card, after Mitchell et al. 2019 in brief: what it is, of which data, how to use it, and its limits."""
    d, data = description, description.data
    labels = ", ".join(d.label_names) or "none"
    colours = "grey" if d.channels == 1 else "3 equal-looking channels of a grey picture"
    kinds = "exactly one label of a picture is 1" if d.is_single_label else "any number of labels of a picture is 1"
    example = [float(index == 0) for index in range(len(d.label_names))]
    label_argument = f", tf.constant([{example}])" if d.label_names else ""
    shape = [1, d.image_size, d.image_size, d.channels]
    notice = f"\n> {data['notice']}\n" if data.get("notice") else ""
    # a ported checkpoint does not say its batch; a growing model's batches may differ by size
    of_images = f" of {d.batch_size} images" if d.batch_size and not d.settings.get("batch_sizes") else ""
    settings = "\n".join(f"| `{name}` | {value} |" for name, value in d.settings.items())
    return f"""# {d.name}, version {d.version}

Draws synthetic frontal chest radiographs, {d.image_size} x {d.image_size} pixels, {colours}.
Every picture is made up; none shows a patient.
{notice}
| | |
| --- | --- |
| model | {d.model}, {d.steps} steps{of_images} |
| labels, in order | {labels} ({kinds}) |
| training data | {data.get("name", "unknown")}, split {data.get("split", "unknown")} |
| licence of the training data | {data.get("licence") or "not stated"} |
| fingerprint of the training data | {data.get("fingerprint", "unknown")} |
| SHA-256 of the weights | {d.weights_sha256} |
| written by | tfcxr {d.tfcxr_version}, TensorFlow {d.tensorflow_version} |

## Use

```python
import tensorflow as tf

model = tf.saved_model.load("saved_models/{d.name}/{d.version}")
image = model.draw(tf.constant([7], tf.int64){label_argument})["image"]  # uint8 {shape}
```

A seed and a label give the same picture, alone or in any batch. `truncation`, a third input that may be left out,
scales the noise: below 1 pictures vary less and look more typical. `draw_png` gives PNG files, `draw_latent` pictures
of a chosen z in [-1, 1], and `score` what the discriminator thinks of a picture; its scores are those of a training
signal, not calibrated probabilities. A server offers them as the signatures `serving_default`, `png`, `latent` and
`score`.

## Limits

- For research on synthetic data only. Not for diagnosis, and not a picture of any disease that a clinician confirmed.
- A label says what the generator was asked for. Whether the picture shows it is for an evaluation to find out.
- What the training data lack, or show in one hospital or age group alone, the pictures lack or show as well.
- The model may have memorised pictures of its training data; nothing here has tested that it has not.
- Patients of the training data, as salted keys, stand in `{PATIENTS_FILE}` where the run recorded them. Never test on
  them a classifier that was trained on these pictures.

## Training settings

| setting | value |
| --- | --- |
{settings}
"""

"""What a SavedModel says of itself: `model.json` for programs, `README.md` for people."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tfcxr.data.conditions import condition_columns
from tfcxr.data.training_patients import TRAINING_PATIENTS_FILE
from tfcxr.serving.message_size import message_size_text
from tfcxr.serving.min_realism import realism_text
from tfcxr.serving.signatures import signatures_of
from tfcxr.serving.signatures.signature import Signature

DESCRIPTION_FILE = "model.json"
CARD_FILE = "README.md"
LIMITS_HEADING = "## Limits\n"  # the evaluation, where there is one, comes before it
CELL_BAR = r"\|"  # a bar that does not end its cell
CHECKERBOARD = [[0, 255], [255, 0]]  # a picture that is small enough for a command line
CARD = """# {name}, version {version}

{what}
{notice}
{facts}

## Use in Python

```python
import tensorflow as tf

model = tf.saved_model.load("saved_models/{name}/{version}")
{use}

{functions}

## Use on a server

```bash
docker run --rm -p 8501:8501 -v "$PWD/saved_models/{name}:/models/{name}" -e MODEL_NAME={name} tensorflow/serving
curl http://localhost:8501/v1/models/{name}:predict -d '{request}'
```

The answer holds each picture as a PNG file, in base64.{label_order}{rows}

{message_size}

## Inputs and outputs

B is the number of images in a request.

{tensors}

{limits_heading}
{limits}
- What the training data lack, or show in one hospital or age group alone, the pictures lack or show as well.
- Patients of the training data, as salted keys, stand in `{patients_file}` where the run recorded them. Never test on
  them a classifier that was trained on these pictures.

## Training settings

{settings}
"""
ROWS = """
`truncation` is one number, or one per image, as rows (`instances`) and a server with `--enable_batching` need it."""
CONDITION_ROW = "further columns of `label`, 0 to 1 (age: years / 100), 0.5 unknown; they may be left out"
WHAT = {  # by kind
    "generator": """Makes synthetic frontal chest radiographs, {image_size} x {image_size} pixels, {colours}.
Every picture is made up; none shows a patient.""",
    "super_resolution": """Makes chest radiographs {scale} times as high and as wide, {colours}.
Trained on images of {image_size} x {image_size} pixels and their averages of {small_size} x {small_size}; it takes
images of any size.""",
}
USE = {
    "generator": """image = model.generate(tf.constant([7], tf.int64){label})["image"]  # uint8 {shape}
```

A seed and a label give the same picture, alone or in any batch.""",
    "super_resolution": """small = tf.zeros([1, {small_size}, {small_size}, {channels}], tf.uint8)
image = model.super_resolve(small)["image"]  # uint8 {shape}
```

Memory does not grow with the images.""",
}
LIMITS = {
    "generator": """\
- For research on synthetic data only. Not for diagnosis, and not a picture of a disease that a clinician confirmed.
- A label says what the generator was asked for. Whether the picture shows it is for an evaluation to find out.
""",
    "super_resolution": """\
- For research only. Not for diagnosis: detail that the small image does not hold is made up, after what the training
  images show, and may hide a finding or invent one.
- It was trained on images made smaller by averaging. Images made smaller in another way, blurred or noisy, come out
  worse.""",
}
BY_REALISM = """

A generator makes candidates of {small_size} pixels. The first that its discriminator rates at {min_realism} or more is
{made}. `realism` is that rating, `tries` the candidates it took, and `seed` the seed of the one in the
picture. After {max_tries} candidates the best is taken, and `is_accepted` is false. A rating is a training signal, not
a calibrated probability."""
CALIBRATED = """ Of {images} held-out real images of {data}, the share {quantile:g} is rated lower."""
BY_COPIES = """

A generator makes candidates of {small_size} pixels. The first that is no copy of a training image is
{made}. `tries` says how many it took, and `seed` is the seed of the one in the picture. After {max_tries} candidates
`is_accepted` is false."""
COPIES = """

A candidate counts as a copy where it is more than {max_copy_ratio:g} times as near to one of {training_images} training
images, or to a mirror image of one, as held-out patients' images usually are; 1 % of these are more than
{held_out_ratio_99:.3g} times as near. A copy is never shown: where all candidates are copies, the picture is black.
`copy_ratio` says how near the picture is, and `copies_refused` how many were refused. Copies that are brighter, noisy
or re-encoded are found; cropped and shifted ones are not."""
ENLARGED = """\
- What was added in enlarging is what such edges usually look like, not what was seen: it is no evidence of anything.
"""
MEMORISED = """\
- The model may have memorised pictures of its training data. Only a memorization result above, if any, tested that."""
COPIES_REFUSED = """\
- The model may have memorised pictures of its training data. Its gate refuses near copies; others may pass.
- This folder holds 32 numbers of each training image. They show no more than a blurred chest, but whoever has a
  patient's radiograph can tell from them whether it was trained on."""


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """What `model.json` beside `saved_model.pb` holds.

    Attributes:
      model: name of the GAN.
      name: of the export, as in `saved_models/<name>/<version>`.
      label_names: order of the `label` input.
      is_single_label: whether exactly one of them is 1.
      image_size: pixels of the images that it makes.
      latent_size: length of z, 0 for super-resolution.
      batch_size: of the training, 0 where a ported checkpoint does not say it.
      data: name, split, notice, licence and fingerprint of the training data.
      weights_sha256: of the exported weights; cohorts are traced to their model by it.
      chunk_rows: images that the exported functions compute at once.
      kind: "generator" makes images of seeds, "super_resolution" enlarges images by `scale`, "cascade" has a gate
        between both, or after the generator alone.
      scale: how many times as high and wide super-resolution makes images.
      golden: requests and what the export drew of them, see `tfcxr.serving.golden`; () in earlier exports.
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
    golden: tuple[dict[str, Any], ...] = ()

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Columns of the `label` input behind the labels, see `tfcxr.data.conditions`."""
        settings = self.settings.get("generator", {}).get("settings", {}) if self.kind == "cascade" else self.settings
        return condition_columns(settings.get("conditions", ()))

    @property
    def version_name(self) -> str:
        """How reports name the model: `name/version`."""
        return f"{self.name}/{self.version}"

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_description(version_dir: str | os.PathLike) -> ModelDescription:
    """Reads `model.json` of an exported version.

    Raises:
      FileNotFoundError: the folder has none.
      ValueError: it does not hold the fields of an exported model.
    """
    path = pathlib.Path(version_dir) / DESCRIPTION_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{version_dir} is not an exported model: it has no {DESCRIPTION_FILE}")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        tuples = {"label_names": tuple(fields["label_names"]), "golden": tuple(fields.get("golden", ()))}
        return ModelDescription(**(fields | tuples))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe an exported model: {error}; export it again") from error


def card_text(description: ModelDescription, served: Any, functions: Mapping[str, Any]) -> str:
    """The model card, after Mitchell et al. 2019 in brief: what it is, of which data, how to use it, and its limits.

    Args:
      description: what `model.json` says.
      served: what is exported, a `tfcxr.serving.served.Served`, which says its inputs.
      functions: of the SavedModel that was written, by signature, which say their outputs.
    """
    d, data, settings = description, description.data, description.settings
    first_label = [float(index == 0) for index in range(len(d.label_names))]
    kinds = "exactly one label of a picture is 1" if d.is_single_label else "any number of labels of a picture is 1"
    labels = f"{', '.join(d.label_names)} ({kinds})" if d.label_names else "none"
    # a ported checkpoint does not say its batch; a growing model's batches may differ by size
    of_images = f" of {d.batch_size} images" if d.batch_size and not settings.get("batch_sizes") else ""
    signatures, sha256 = signatures_of(d.kind), settings.get("pretrained_sha256")
    rows = [
        ("model", f"{d.model}, {d.steps} steps{of_images}"),
        *([] if d.kind == "super_resolution" else [("labels, in order", labels)]),
        *([(CONDITION_ROW, ", ".join(d.condition_names))] if d.condition_names else []),
        *([("started from", f"run {settings['pretrained']}, checkpoint of SHA-256 {sha256}")] if sha256 else []),
        ("training data", f"{data.get('name', 'unknown')}, split {data.get('split', 'unknown')}"),
        *([("trained before on", data["pretrained_on"])] if "pretrained_on" in data else []),
        ("licence of the training data", data.get("licence") or "not stated"),
        ("fingerprint of the training data", data.get("fingerprint", "unknown")),
        ("SHA-256 of the weights", d.weights_sha256),
        ("written by", f"tfcxr {d.tfcxr_version}, TensorFlow {d.tensorflow_version}"),
    ]
    order = f" The columns of `label` are {', '.join(d.label_names)}, in this order." if d.label_names else ""
    facts = (
        dataclasses.asdict(d)
        | settings.get("copies", {})
        | {
            "colours": "grey" if d.channels == 1 else "3 equal-looking channels of a grey picture",
            "small_size": d.image_size // d.scale,
            "shape": [1, d.image_size, d.image_size, d.channels],
            "label": f", tf.constant([{first_label}])" if d.label_names else "",
            "facts": markdown_table(("", ""), rows),
            "limits_heading": LIMITS_HEADING,
            "notice": f"\n> {one_line(data['notice'])}\n" if data.get("notice") else "",
            "patients_file": TRAINING_PATIENTS_FILE,
            "made": f"enlarged {d.scale} times" if d.scale > 1 else "taken",
            "min_realism": realism_text(settings.get("min_realism", 0.0)),
            "max_tries": settings.get("max_tries"),
            "functions": markdown_table(
                ("function", "signature on a server", "returns"),
                [(f"`{name}`", f"`{signature.name}`", signature.meaning) for name, signature in signatures.items()],
            ),
            "request": json.dumps(_request(d)),
            "label_order": order,
            "rows": "" if d.kind == "super_resolution" else ROWS,
            "message_size": message_size_text(d.image_size, d.channels, "generate_from_latent" in signatures),
            "tensors": markdown_table(
                ("function", "in or out", "name", "dtype", "shape", "values"),
                _tensor_rows(signatures, served, functions),
            ),
            "settings": markdown_table(("setting", "value"), [(f"`{name}`", value) for name, value in _settings(d)]),
        }
    )
    return CARD.format(**facts | {name: text.format(**facts) for name, text in _texts(d).items()})


def _texts(description: ModelDescription) -> dict[str, str]:
    """The texts that depend on what the model does."""
    kind, settings = description.kind, description.settings
    if kind == "super_resolution":
        return {"what": WHAT[kind], "use": USE[kind], "limits": LIMITS[kind]}
    use, limits = USE["generator"], LIMITS["generator"] + MEMORISED
    if kind == "cascade":
        use += BY_REALISM if "min_realism" in settings else BY_COPIES
    if kind == "cascade" and "calibration" in settings:
        use += CALIBRATED.format(**settings["calibration"])
    if kind == "cascade" and "copies" in settings:
        use, limits = use + COPIES, LIMITS["generator"] + COPIES_REFUSED
    return {"what": WHAT["generator"], "use": use, "limits": (ENLARGED if description.scale > 1 else "") + limits}


def _request(description: ModelDescription) -> dict[str, Any]:
    """A request for one picture as a PNG file, in the format of TensorFlow Serving."""
    if description.kind == "super_resolution":
        inputs: dict[str, Any] = {
            "image": [[[[level] * description.channels for level in row] for row in CHECKERBOARD]]
        }
    else:
        label = [[float(index == 0) for index in range(len(description.label_names))]]
        inputs = {"seed": [7], **({"label": label} if description.label_names else {}), "truncation": 1.0}
    return {"signature_name": "png", "inputs": inputs}


def _tensor_rows(
    signatures: Mapping[str, Signature], served: Any, functions: Mapping[str, Any]
) -> list[tuple[str, ...]]:
    """Each input and output of each function, as it is exported."""
    rows: list[tuple[str, ...]] = []
    for name, signature in signatures.items():
        outputs = functions[signature.name].structured_outputs
        sides = {"in": {spec.name: spec for spec in signature.inputs(served)}, "out": outputs}
        for side, tensors in sides.items():
            rows += [
                (
                    f"`{name}`",
                    side,
                    f"`{key}`",
                    tensor.dtype.name,
                    _shape_text(tensor.shape),
                    signature.values.get(key, ""),
                )
                for key, tensor in tensors.items()
            ]
    return rows


def _shape_text(shape: Any) -> str:
    """Such as "[B, 64, 64, 1]"; sides that a request chooses are "any", and what has any rank is one value or B."""
    if shape.rank is None:
        return "[] or [B]"
    sides = ["any" if side is None else str(side) for side in shape]
    return f"[{', '.join(['B', *sides[1:]] if sides[:1] == ['any'] else sides)}]"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; what would end a cell or its row is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(one_line(cell).replace('|', CELL_BAR) for cell in line)} |" for line in lines)


def one_line(value: Any) -> str:
    """Text on one line."""
    return " ".join(str(value).split())


def _settings(description: ModelDescription) -> list[tuple[str, Any]]:
    """Rows of the last table; a cascade has those of both its models."""
    rows = []
    for name, value in description.settings.items():
        if description.kind == "cascade" and name in ("copies", "calibration"):
            rows += [(f"{name}.{fact}", shown) for fact, shown in value.items()]
        elif description.kind == "cascade" and name in ("generator", "super_resolution"):
            facts = {fact: value[fact] for fact in ("saved_model", "model", "steps", "weights_sha256")}
            rows += [(f"{name}.{fact}", shown) for fact, shown in {**facts, **value["settings"]}.items()]
        else:
            rows.append((name, value))
    return rows

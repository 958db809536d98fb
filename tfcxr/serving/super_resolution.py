"""A trained super-resolution model -> `saved_models/<name>/<version>/`, which loads where tfcxr is not installed.

| signature         | inputs                                | outputs                               |
| ----------------- | ------------------------------------- | ------------------------------------- |
| `serving_default` | `image` uint8 [B,H,W,C], any H and W  | `image` uint8 [B, H*scale, W*scale,C] |
| `png`             | the same                              | `png_bytes` string [B]                |

Images are enlarged one at a time and window by window, so that memory does not grow with them, and an image comes out
the same alone or in any batch. Beside `saved_model.pb` stand `model.json`, `README.md` and, for a model trained from a
run folder, `training_patients.txt`, as for the generators of `saved_model.py`.
"""

from collections.abc import Callable

import tensorflow as tf

from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.models.srgan import SRGAN
from tfcxr.serving.model_card import PATIENTS_FILE, ModelDescription
from tfcxr.serving.version_folder import Untracked, encode_pngs, signature


class ServedSuperResolution(tf.Module):
    """The functions that are exported; `loaded` of `tf.saved_model.load` has them under the same names.

    Attributes:
      enhance, enhance_png: the signatures of the module's table, as `tf.function`.
      chunk_rows: images that are computed at once.
    """

    chunk_rows = 1

    def __init__(self, model: SRGAN) -> None:
        """`model` must compute in float32."""
        super().__init__(name="tfcxr")
        self._weights = [variable.value for variable in model.sampling_generator.variables]
        self._model = Untracked(model)
        spec = tf.TensorSpec([None, None, None, model.config.channels], tf.uint8, "image")
        self.enhance = signature(lambda image: {"image": self._enhance(image)}, [spec])
        self.enhance_png = signature(lambda image: {"png_bytes": encode_pngs(self._enhance(image))}, [spec])

    def signatures(self) -> dict[str, Callable]:
        """Signature name -> function."""
        return {"serving_default": self.enhance, "png": self.enhance_png}

    def _enhance(self, image: tf.Tensor) -> tf.Tensor:
        has_pixels = tf.reduce_all(tf.shape(image)[1:3] > 0)
        message = ["image needs at least one pixel to each side, got shape", tf.shape(image)]
        with tf.control_dependencies([tf.debugging.Assert(has_pixels, message)]):
            image = tf.identity(image)
        return to_pixels(self._model.model.super_resolve(from_pixels(image)))


def super_resolution_card(description: ModelDescription) -> str:
    """The model card, after Mitchell et al. 2019 in brief: what it is, of which data, how to use it, and its limits."""
    d, data = description, description.data
    colours = "grey" if d.channels == 1 else "3 equal-looking channels of a grey picture"
    small, large = d.image_size // d.scale, d.image_size
    notice = f"\n> {data['notice']}\n" if data.get("notice") else ""
    settings = "\n".join(f"| `{name}` | {value} |" for name, value in d.settings.items())
    return f"""# {d.name}, version {d.version}

Makes chest radiographs {d.scale} times as high and as wide, {colours}. Trained on images of {large} x {large} pixels
and their averages of {small} x {small}; it takes images of any size.
{notice}
| | |
| --- | --- |
| model | {d.model}, {d.steps} steps of {d.batch_size} images |
| training data | {data.get("name", "unknown")}, split {data.get("split", "unknown")} |
| licence of the training data | {data.get("licence") or "not stated"} |
| fingerprint of the training data | {data.get("fingerprint", "unknown")} |
| SHA-256 of the weights | {d.weights_sha256} |
| written by | tfcxr {d.tfcxr_version}, TensorFlow {d.tensorflow_version} |

## Use

```python
import tensorflow as tf

model = tf.saved_model.load("saved_models/{d.name}/{d.version}")
small = tf.zeros([1, {small}, {small}, {d.channels}], tf.uint8)
large = model.enhance(small)["image"]  # uint8 [1, {large}, {large}, {d.channels}]
```

`enhance_png` gives PNG files. A server offers both as the signatures `serving_default` and `png`. Large images are
computed window by window, so that memory does not grow with them; the windows overlap and leave no seams.

## Limits

- For research only. Not for diagnosis: detail that the small image does not hold is made up, after what the training
  images show, and may hide a finding or invent one.
- It was trained on images made smaller by averaging. Images made smaller otherwise, blurred or noisy, come out worse.
- What the training data lack, or show in one hospital or age group alone, the enlarged pictures lack or show as well.
- Patients of the training data, as salted keys, stand in `{PATIENTS_FILE}` where the run recorded them. Never test on
  them a classifier that was trained on enlarged pictures.

## Training settings

| setting | value |
| --- | --- |
{settings}
"""

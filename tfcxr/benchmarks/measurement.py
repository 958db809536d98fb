"""What one measurement of `tfcxr.benchmark` is, and the flags that the measurements share."""

import dataclasses
import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from tfcxr import registry
from tfcxr.command_line import Arguments, flag
from tfcxr.config import make_config, parse_settings, to_plain
from tfcxr.models import MODELS
from tfcxr.models.model_config import AdversarialConfig
from tfcxr.startup import start_tensorflow

if TYPE_CHECKING:
    from tfcxr.training.run_folder import RunConfig

WARM_UP = 3  # steps, batches or requests that are not timed


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasurementArguments(Arguments):
    """What is measured, and how often.

    Attributes:
      model: Name of the model, or the file of your own.
      image_size: Pixels.
      batch_size: Images per training step, and per batch of the pipeline.
      generate_batch_size: Images per request to the exported model, per batch of the extractor, and latents optimised
        at once.
      extractor: Network whose features are timed, as in tfcxr.evaluate; an untrained Inception-v3 by default.
      repeats: How many training steps and requests are timed.
      builder_repeats: How often the builder is timed.
      pipeline_seconds: How long the pipeline is read.
      settings: Setting of the model, name=value; may be repeated.
      data_dir: Data folder that the pipeline reads; without it raw records of noise are made.
      splits: Splits of --data_dir to read.
      saved_model: Exported model to generate with; without it --model is exported untrained.
      classifiers: Folders of classifiers by which latents of --saved_model are optimised.
      sizes: Image sizes of a growing model to measure; all of them by default.
      batches: Images per step at each size: two to fit its memory by, more to check the fit.
      steps_per_size: How many steps are timed at each size.
      clients: Clients that load the server at once with single images; 0 leaves the load out.
      seconds: How long they do.
      devices: Devices to train on; all GPUs by default.
    """

    model: str = "acgan"
    image_size: int = 64
    batch_size: int = flag(16, minimum=1)
    generate_batch_size: int = flag(64, minimum=1)
    extractor: str | None = None
    repeats: int = flag(15, minimum=10)
    builder_repeats: int = flag(3, minimum=1)
    pipeline_seconds: float = flag(3.0, minimum=0.1)
    settings: tuple[str, ...] = flag((), name="set", is_repeated=True)
    data_dir: str | None = None
    splits: tuple[str, ...] = ("train",)
    saved_model: str | None = None
    classifiers: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    batches: tuple[str, ...] = ("2", "4", "6")
    steps_per_size: int = flag(3, minimum=1)
    clients: int = flag(0, minimum=0)
    seconds: float = flag(30.0, minimum=1)
    devices: tuple[str, ...] = ()

    def config(self) -> AdversarialConfig:
        """The model's configuration.

        Raises:
          FileNotFoundError: no such file of a model of your own.
          ValueError: no such model or setting.
        """
        _, gan_class = registry.find(MODELS, self.model, "model")
        return make_config(gan_class.config_class, {"image_size": self.image_size} | parse_settings(self.settings))

    def run(self) -> "RunConfig":
        """A run of the model with made-up labels, which is never trained."""
        from tfcxr.training.run_folder import RunConfig

        config = self.config()
        model, _ = registry.find(MODELS, self.model, "model")
        labels = tuple(f"label_{index}" for index in range(config.label_count))
        data = {"name": "random numbers", "split": "train", "notice": "Untrained: a benchmark's model."}
        return RunConfig(model, to_plain(config), labels, seed=0, batch_size=self.batch_size, steps=0, data=data)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """An entry of `tfcxr.benchmarks.MEASUREMENTS`.

    Attributes:
      measure: Arguments -> figures that JSON can hold.
      describe: Figures -> text. Where there is an "images_per_second", the details that stand behind it in the table.
    """

    measure: Callable[[MeasurementArguments], dict[str, Any]]
    describe: Callable[[dict[str, Any]], str]


def process_memory_mib() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def in_own_process(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a fresh process, whose memory is its own.

    Args:
      what: Subject of the error's sentence, such as "64 px".
      function: Importable by its name; it, its arguments and its result are pickled.

    Raises:
      ChildProcessError: the function raised, or its process was killed.
    """
    import tensorflow as tf

    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start_tensorflow) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise ChildProcessError(f"{what} could not be measured: its process was killed, for want of memory?") from error
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ChildProcessError(f"{what} could not be measured: {error}") from error

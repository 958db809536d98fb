"""What a training shows while it runs; a new kind of model is one new file and one line in `SAMPLE_WATCHERS`."""

from tfcxr.training.samples.generated import GeneratedSamples
from tfcxr.training.samples.super_resolved import SuperResolvedSamples
from tfcxr.training.samples.watcher import SampleWatcher

SAMPLE_WATCHERS: dict[str, type[SampleWatcher]] = {  # by `AdversarialModel.kind`
    "generator": GeneratedSamples,
    "super_resolution": SuperResolvedSamples,
}

"""The trainings of a frontier: every mix of real and synthetic images by every seed, with the time that is left."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from absl import logging

from tfcxr.data.atomic import remove_temporary_files
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.trainings import Training

FOLDER = "frontier"  # of finished trainings, in `out_dir`

Mix = TypeVar("Mix", bound=Hashable)


def train_mixes(
    evaluation: Evaluation,
    mixes: Sequence[Mix],
    find_or_train: Callable[[Mix, int], Training],
    images_of: Callable[[Mix], int],
) -> dict[Mix, list[Training]]:
    """One training per mix and seed, seed by seed; the log says how many there are and about how long they take.

    Args:
      mixes: what is trained on.
      find_or_train: (mix, seed) -> its training, kept or made now.
      images_of: how many images a mix has, for the estimate.
    """
    folder = evaluation.out_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(folder)
    trainings: dict[Mix, list[Training]] = {mix: [] for mix in mixes}
    runs = list(itertools.product(evaluation.classifier_seeds, mixes))
    seconds, images, left = 0.0, 0, sum(images_of(mix) for _, mix in runs)
    for index, (seed, mix) in enumerate(runs, start=1):
        about = f"about {seconds / images * left / 60:.0f} minutes left" if images else "no estimate yet"
        logging.info("training %d of %d: %s", index, len(runs), about)
        trainings[mix].append(find_or_train(mix, seed))
        seconds += trainings[mix][-1].facts["seconds"]
        images, left = images + images_of(mix), left - images_of(mix)
    return trainings

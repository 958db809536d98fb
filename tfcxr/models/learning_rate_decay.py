"""The learning rate's fall at the end of a training: constant, then linear, as Zhu et al. 2017 train CycleGAN."""


def remaining_share(steps: int, end_step: int, decay_last: float, final_share: float) -> float:
    """Which share of the learning rate the next step is taken with, 1 before the fall.

    Args:
      steps: finished so far.
      end_step: steps of the whole training.
      decay_last: share of these steps in which the rate falls, 0 for none.
      final_share: what is left of the rate after the last step.
    """
    fall = decay_last * end_step
    into_fall = max(0.0, steps - (end_step - fall))
    return 1.0 - (1.0 - final_share) * into_fall / fall if into_fall else 1.0

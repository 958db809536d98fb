"""Trains in child processes that are killed and resumed, for test_resume.py: killed_runs.py DATA_DIR RUN_DIR DELAY...

Each DELAY is seconds until SIGKILL, which comes earlier when the child has written two checkpoints, so that no child
ends by itself; or "checkpoint": the kill comes while a checkpoint is half-written; or "ctrl-c": SIGINT comes after the
first checkpoint. A last child runs to the end.
Children are forked after TensorFlow is imported and before it starts, which saves their start-up.
Prints a line per child: how it ended and what it left half-written.
"""

import os
import pathlib
import signal
import sys
import time

import tfcxr.train
import tfcxr.training.session  # with TensorFlow, before the forks
from tfcxr import command_line
from tfcxr.data.atomic import TEMPORARY_MARK

STEPS = 51
CHECKPOINT_EVERY = 3


def run_child(arguments: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    sys.argv = ["train", *arguments]
    command_line.run(tfcxr.train.train)
    os._exit(0)


def half_written(run_dir: pathlib.Path) -> list[str]:
    return [path.name for path in run_dir.rglob(f"{TEMPORARY_MARK}*")]


def newest_step(run_dir: pathlib.Path) -> int:
    return max((int(path.stem[5:]) for path in run_dir.glob("checkpoints/step-*.npz")), default=0)


def wait(seconds: float, run_dir: pathlib.Path) -> None:
    first_step, end = newest_step(run_dir), time.monotonic() + seconds
    while time.monotonic() < end and newest_step(run_dir) < first_step + 2 * CHECKPOINT_EVERY:
        time.sleep(0.002)


def wait_for_half_written_checkpoint(run_dir: pathlib.Path, child: int) -> None:
    folder = run_dir / "checkpoints"
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if folder.is_dir() and any(folder.glob(f"{TEMPORARY_MARK}*")):
            return
    raise SystemExit("the child ended before a checkpoint was seen half-written")


def main() -> None:
    data_dir, run_dir, *delays = sys.argv[1:]
    arguments = [
        f"--data_dir={data_dir}",
        f"--run_dir={run_dir}",
        f"--steps={STEPS}",
        "--batch_size=8",
        "--log_every=2",
        "--sample_every=25",
        f"--checkpoint_every={CHECKPOINT_EVERY}",
        "--noexport",
        "--resume",
        "--set=generator_filters=32",
        "--set=discriminator_filters=8",
        "--set=dropout=0.2",
        "--set=augmentations=('translation',)",
        "--set=r1_interval=2",
    ]
    run_dir = pathlib.Path(run_dir)
    for delay in delays:
        child = run_child(arguments)
        if delay == "checkpoint":
            wait_for_half_written_checkpoint(run_dir, child)
        elif delay == "ctrl-c":
            while not newest_step(run_dir):
                time.sleep(0.002)
        else:
            wait(float(delay), run_dir)
        os.kill(child, signal.SIGINT if delay == "ctrl-c" else signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        ended = "killed" if os.WIFSIGNALED(status) else f"ended {os.waitstatus_to_exitcode(status)}"
        print(ended, *half_written(run_dir), flush=True)
    _, status = os.waitpid(run_child(arguments), 0)
    print("finished", os.waitstatus_to_exitcode(status), *half_written(run_dir), flush=True)


if __name__ == "__main__":
    main()

"""Several machines that train one model: who is who, and what they agree on after each step.

TensorFlow's TF_CONFIG names all workers and says which one this process is. The first one, the chief, writes the run
folder; the others take their rows of every batch and write nothing.
"""

import dataclasses
import hashlib
import json
import os

import numpy as np
import tensorflow as tf

VARIABLE = "TF_CONFIG"
CHIEF, WORKER = "chief", "worker"


@dataclasses.dataclass(frozen=True)
class Workers:
    """This process among those that train together.

    Attributes:
      index: of this worker, from 0; the first one is the chief.
      count: of all workers.
      addresses: host:port of each, by index; none where this process is alone.
    """

    index: int = 0
    count: int = 1
    addresses: tuple[str, ...] = ()

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run folder."""
        return self.index == 0


def read_workers() -> Workers:
    """The workers by TF_CONFIG; one where it is not set or names one.

    Raises:
      ValueError: it is damaged, names no such task, or has tasks that do not train.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Workers()
    try:
        config = json.loads(text)
        cluster = {role: list(addresses) for role, addresses in config.get("cluster", {}).items()}
        task = config.get("task", {})
        role, index = task.get("type", WORKER), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{VARIABLE} is no cluster in JSON ({error}); unset it to train on this machine") from error
    count = sum(map(len, cluster.values()))
    if count < 2:
        return Workers()
    if others := sorted(set(cluster) - {CHIEF, WORKER}):
        raise ValueError(f"{VARIABLE} has tasks {others[0]!r}; all machines train here, as {WORKER!r}")
    if not {"type", "index"} <= task.keys():
        raise ValueError(
            f'{VARIABLE} does not say which of its {count} workers this is; add "task": '
            '{"type": "worker", "index": 0} to it, with another index on each machine'
        )
    if role not in cluster or not 0 <= index < len(cluster[role]):
        raise ValueError(f"{VARIABLE} says that this is {role} {index}, which its cluster does not have")
    first = len(cluster.get(CHIEF, ())) if role == WORKER else 0
    addresses = [str(address) for role in (CHIEF, WORKER) for address in cluster.get(role, ())]
    return Workers(first + index, count, tuple(addresses))


class Agreement:
    """After each step, every worker learns what any of them wants; without it, one would wait for another for ever."""

    def __init__(self, strategy: tf.distribute.Strategy, workers: Workers) -> None:
        self._strategy, self._workers = strategy, workers
        self._is_alone = workers.count == 1
        self._sum = tf.function(self._sum_over_workers, autograph=False)

    def __call__(self, stops: bool, saves: bool) -> tuple[bool, bool]:
        """Whether any worker stops, and whether any saves; all workers must call it after the same step."""
        if self._is_alone:
            return stops, saves
        any_stops, any_saves = np.asarray(self._sum(tf.constant([stops, saves], tf.int32))) > 0
        return bool(any_stops), bool(any_saves)

    def require_equal(self, start: str) -> None:
        """Compares what all workers were started with, before their first step; all must call it.

        Raises:
          ValueError: another worker's `start` is another one.
        """
        if self._is_alone:
            return
        digests = np.zeros([self._workers.count, 8], np.int32)  # each adds a row, the parts of its checksum
        digests[self._workers.index] = np.frombuffer(hashlib.sha256(start.encode()).digest()[:16], np.uint16)
        of_all = np.asarray(self._sum(tf.constant(digests)))
        for index, digest in enumerate(of_all):
            if (digest != of_all[0]).any():
                raise ValueError(
                    f"worker {index} was started with other settings, data or versions than worker 0; start all of "
                    "them with the same command, the same records and the same versions of tfcxr and TensorFlow"
                )

    def _sum_over_workers(self, wishes: tf.Tensor) -> tf.Tensor:
        def of_replica(own: tf.Tensor) -> tf.Tensor:
            mine = tf.identity(own)  # on the device of this replica
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, mine)

        return self._strategy.experimental_local_results(self._strategy.run(of_replica, args=(wishes,)))[0]

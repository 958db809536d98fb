"""Published studies: each a file in `experiments/`, run stage by stage, its figures beside the paper's."""

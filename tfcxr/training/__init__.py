"""What turns a GAN and batches into a run folder: strategy, loop, checkpoints, callbacks."""

"""What leaves the project: a trained generator as a SavedModel that needs none of this package, and its model card."""

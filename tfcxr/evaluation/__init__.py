"""What synthetic images are worth: metrics, feature extractors, protocols and reports."""

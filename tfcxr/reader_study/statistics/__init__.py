"""What answers say: rates, agreement, ROC curves, thresholds, with intervals for other readers and cases."""

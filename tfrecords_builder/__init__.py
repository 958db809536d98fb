"""Raw radiograph collections -> sharded TFRecords, with `dataset_info.json` beside them."""

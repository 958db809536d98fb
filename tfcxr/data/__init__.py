"""What a record is, how it is stored, and how it becomes batches."""

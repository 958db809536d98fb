"""Image files -> checked grey arrays -> the square pictures of records."""

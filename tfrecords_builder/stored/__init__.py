"""What is done with data folders that are there already: checking, looking at, joining and converting them."""

"""Studies in which people look at real and synthetic radiographs: designed, answered in a browser, analysed, kept."""

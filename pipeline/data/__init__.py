"""The data: one file a data source; the file name is its registration."""

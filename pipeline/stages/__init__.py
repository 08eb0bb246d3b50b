"""The stages: one file a stage; the file name is its registration."""

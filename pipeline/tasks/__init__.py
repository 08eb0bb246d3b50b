"""The tasks: one file a task: what the outputs mean and how they are scored."""

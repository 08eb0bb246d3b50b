"""The rooms behind the door of the intake: files are read in a child process, models are made flat, both are proven."""

"""From a recipe to a report: the stages, the checks and the story that joins them (`flow.py`)."""

__version__ = "0.1.0"

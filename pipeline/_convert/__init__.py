"""The rooms behind the door of the conversion: what is done to a model before the converter, and to its bytes after."""

"""Devices: given a `.tflite`, prepare it, run it there, measure it. Knows nothing of recipes or TensorFlow."""

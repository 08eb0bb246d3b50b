"""The zoo: one file an architecture, each with `build(input_shape, num_classes, **options)`."""

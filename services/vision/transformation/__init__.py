"""Makes a new image from an image: TransformImage."""

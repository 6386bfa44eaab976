"""Finds objects in images: DetectObjects with the model's own classes or labels of the request."""

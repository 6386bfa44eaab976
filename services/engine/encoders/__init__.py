"""Text encoders, with one forward per request: embeddings, classes, spans. They run on `services.engine.batching`."""

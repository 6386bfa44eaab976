"""Text models that read once and answer: embeddings, classes, spans. They run on `services.engine.batching`."""

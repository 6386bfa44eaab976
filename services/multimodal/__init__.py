"""The multimodal service: serves one model that reads images or recordings with text, as MultimodalService."""

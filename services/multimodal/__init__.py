"""The multimodal service: one model of images and texts, or of sounds and texts, behind MultimodalService."""

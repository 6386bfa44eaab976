"""The vision service: one model of images behind VisionService."""

"""The vision service: serves one image model as VisionService."""

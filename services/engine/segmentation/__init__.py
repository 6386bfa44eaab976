"""From what a segmentation model computes to regions in pixels of the image. Computes what transformers' own
post-processing does, mask by mask, so that memory does not grow with masks times pixels.

mode        what a region is
upscaling   masks at the size of the image, one at a time
semantic    one region per class
queries     masks with their classes, however an architecture calls them
panoptic    regions that share the image out
instances   regions each by itself
prompt      points and a box
prompts     regions that prompts point at
models      which of these a model can do, and how it is run
"""

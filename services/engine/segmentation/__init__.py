"""Turns outputs of segmentation models into regions in pixels of the image. The results are those of transformers' own
postprocessing, but computed mask by mask, so that memory does not grow with the number of masks times pixels.

mode        the segmentation modes
upscaling   scales masks to the size of the image, one at a time
semantic    one region per class
queries     masks and class logits, under one name for all architectures
panoptic    regions that do not overlap
instances   regions that may overlap
prompt      points and a box
prompts     regions marked by prompts (SAM)
models      the modes of a model, and how it is run
"""

"""From what a detection model computes to objects in pixels of the image.

objects      scores and boxes in pixels
open_labels  labels in words, for models that read each by itself
phrases      labels in words, for models that read all of them as one text
"""

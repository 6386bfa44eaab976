"""Turns outputs of detection models into objects with boxes in pixels of the image.

objects      scores and boxes in pixels
open_labels  labels as text, for models that encode each label by itself
phrases      labels as text, for models that read all labels as one text
"""

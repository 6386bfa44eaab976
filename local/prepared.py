"""Imported by the fork server after the services: does once what each of them would do for itself as it loads.

It takes a second of what a service with images needs, and a fifth of what one with texts does.
"""

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from services.engine.images.processor import show_image_processors

show_image_processors()
get_checkpoint_conversion_mapping("")  # of no model: it keeps the tables of all

"""Image-to-text models, which read one image and a prompt: captions, and answers about images or pages."""

"""What classifiers say: names of classes, their scores, and sentences about them."""

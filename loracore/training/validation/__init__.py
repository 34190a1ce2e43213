"""The loss on pictures that are not trained on, and what follows from it."""

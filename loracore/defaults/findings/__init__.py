"""What is said of options before anything is loaded: wrong, unsupported, without effect, implied."""

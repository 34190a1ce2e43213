"""Make the embedded demo model from nothing: `python -m make_demo`, run in plugins/sdxl."""

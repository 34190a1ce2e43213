"""Make the embedded demo models from nothing: `python -m make_demo sdxl WORK_FOLDER` in the repository's root."""

"""The demo model of SDXL."""

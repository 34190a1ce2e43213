"""The demo model of SD3."""

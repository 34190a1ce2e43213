"""Files of prompts for previews: what the field writes there, read before anything is loaded."""

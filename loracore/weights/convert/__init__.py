"""Files of networks under other names, and as the nearest LoRA."""

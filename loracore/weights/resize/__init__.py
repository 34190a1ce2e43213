"""LoRA of smaller ranks."""

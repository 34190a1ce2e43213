"""The phases of a run gone through on the meta device, where tensors have shapes and no numbers."""

"""Noise, timesteps and loss weights as pure functions of tensors; nothing of ours is imported here."""

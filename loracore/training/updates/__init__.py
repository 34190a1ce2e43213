"""What moves a network: optimizers, courses of learning rates, and the way from gradients to steps."""

"""What options say of the optimizer and of the course of its rates; nothing here imports torch."""

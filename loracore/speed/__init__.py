"""What makes a step fast and changes nothing in its mathematics."""

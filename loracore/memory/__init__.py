"""What makes a run fit on its device."""

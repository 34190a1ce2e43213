"""How much memory a run will take, counted before any weight is read, and what makes it fit."""

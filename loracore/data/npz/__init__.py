"""The field's own cache files beside pictures."""

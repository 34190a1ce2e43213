"""A run's ``report.html``, made from its events: one page that needs no network and no torch."""

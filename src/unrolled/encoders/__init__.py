"""One module an architecture, all on one contract."""

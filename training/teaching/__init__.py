"""How a checkpoint is taught a source's logs: lessons, methods, the search for their settings."""

"""The template cache: in process, and Redis behind it."""

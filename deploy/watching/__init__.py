"""Watching Logloom: the dashboard and how it is drawn."""

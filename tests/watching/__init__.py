"""What watches Logloom, tested and looked at: metrics, dashboard, alerts."""

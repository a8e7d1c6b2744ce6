"""`python -m worker` is `logloom`."""

from worker.cli import main

main()

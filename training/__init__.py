"""Teach the parser: mine logging calls, fine-tune, evaluate. The worker never imports this package."""

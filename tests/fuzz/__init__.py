"""Bad input: what reads bytes that anyone may have written, fed with bytes that no one should write."""

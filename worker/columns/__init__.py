"""A batch as arrays, and the compiled kernels that work on them. Knows nothing of sockets."""

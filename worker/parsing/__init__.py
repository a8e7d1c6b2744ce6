"""Headers, templates, parameter types and the model.

Plain Python and torch: knows nothing of Kafka, Redis, numba or the environment.
"""

"""Manifests, image and `make deploy`, checked without a cluster."""

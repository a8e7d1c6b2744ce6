"""Envelopes in, dead letters out."""

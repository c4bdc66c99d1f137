"""Shared parts of the loops: setup, experience collection, save and resume."""

"""Decides beside the camera with a release bundle, and keeps every image until the plant has it."""

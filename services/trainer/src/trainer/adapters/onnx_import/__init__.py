"""Makes a release's graph of a model that was trained and exported elsewhere.

`inspection` reads the file, `layouts` tells what its outputs mean, `surgery` builds the release's graph around it, and
`checking` holds that graph against the original's outputs decoded by NumPy.
"""

"""The memory of the line: captures, reviews, labels, actions, dataset versions, and the reference data in
force."""

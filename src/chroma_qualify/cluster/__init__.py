"""Get a cluster: an ephemeral kind cluster of our own, its images, add-ons and nodes."""

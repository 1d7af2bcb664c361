"""Traffic from inside the cluster: helper pods, network probes, open-loop query load, scale-out."""

"""What we measure of ourselves: against other networks, the paper and the machine's peak; `edge-deploy lab`."""

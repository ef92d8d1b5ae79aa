"""The fault matrix in full figures: `make faults`, whose results are committed as RESULTS.md."""

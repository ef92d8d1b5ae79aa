"""What we measure of ourselves: beside other networks, the paper's, and the machine's peak; `plan.py` lists it."""

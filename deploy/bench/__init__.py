"""`edge-deploy bench`: what an inspection costs on this machine, one file a measurement; `plan.py` lists them."""

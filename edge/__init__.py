"""edge-inspect: a streaming inspection daemon after "Uninformed Students" (Bergmann et al., CVPR 2020)."""

__version__ = "0.1.0"

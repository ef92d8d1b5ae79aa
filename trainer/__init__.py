"""The workstation's side: distil teachers, train students, export and calibrate bundles. torch lives only here.

What was measured, and so decided, is in FIGURES.md; reasons and what was rejected are in the modules.
"""

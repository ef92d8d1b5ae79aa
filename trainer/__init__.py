"""The workstation's side: distil teachers, train students, export and calibrate bundles. torch lives only here."""

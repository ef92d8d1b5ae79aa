"""The screens, one file each: what is asked for, and which template shows it."""

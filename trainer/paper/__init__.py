"""The paper, exactly: its networks, its patch-wise teacher, and its one-vs-rest experiment (family `paper`)."""

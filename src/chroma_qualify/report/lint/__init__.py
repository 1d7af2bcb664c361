"""What the lint found, as a person reads it, as a program does, and as GitHub shows it."""

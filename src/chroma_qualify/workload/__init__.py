"""What is done to Chroma, as its clients do it: records, real text, reads that prove."""

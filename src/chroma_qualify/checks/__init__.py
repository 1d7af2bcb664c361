"""Pure judgement: from what was written and read to findings. No I/O, no clock, no cluster."""

"""The verdict of a run and how it is told: verdict.json, plan.json, the terminal. No I/O but files, no clock."""

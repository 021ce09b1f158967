"""The commands of `sparring`, one module each, imported when they run."""

"""Attacks, defenses, threat models and data for teaching and measuring robustness."""

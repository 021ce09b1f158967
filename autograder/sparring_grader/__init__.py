"""Publish lessons, grade submissions behind a wall, report and certify."""

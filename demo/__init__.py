"""A class of submissions that shows the whole path, and checks every mark that comes out of it."""

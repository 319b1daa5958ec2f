"""A page to look at volumes: three linked planes, served on this machine or as one file."""

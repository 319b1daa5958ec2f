"""Prior types: what a network sees of a volume, what it returns, and how it is trained."""

"""From what a detector counted to line integrals with their geometry."""

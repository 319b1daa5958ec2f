"""Foreign files are read in a child process: what is damaged or hostile in them stays there."""

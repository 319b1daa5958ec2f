"""Volume formats of one file: headers and voxels, read here and not trusted to a library."""

"""Reading and writing: volumes, DICOM series and projections; the only room that opens files."""

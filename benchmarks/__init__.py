"""One command, one table: our stages against DIPY and MRtrix3 on the same work."""

"""The command `report`: a run as one web page."""

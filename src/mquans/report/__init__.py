"""What a calibration found, as one page (extra `report`)."""

"""What every Andonloop service needs and none owns."""

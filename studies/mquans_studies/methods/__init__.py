"""Ways to choose precision, compared at equal loss."""

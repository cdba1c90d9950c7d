"""Laws of the price to beat given the features of an opportunity: one file each."""

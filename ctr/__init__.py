"""What is known about people, ads and prices, and the logs it is learnt from."""

"""What every method is lent, so that methods differ only in their idea. The only part of the suite a method imports."""

"""max-min: sets by thresholds of distance, exchanges, and a bound that no set exceeds."""

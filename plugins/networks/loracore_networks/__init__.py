"""Networks for loracore, one small package each."""

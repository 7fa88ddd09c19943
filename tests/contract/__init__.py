"""What billingsync relies on at Pax8 and HaloPSA, stated once and tried on the sandbox and on cassettes alike."""

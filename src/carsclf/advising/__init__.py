"""The best classifier that some hours on this machine buy: looked for, probed, planned, trained."""

"""Photos in other styles: the styles, the network that transfers them, and a folder of results."""

"""One study: its decisions, its journal, its final, and what it writes."""

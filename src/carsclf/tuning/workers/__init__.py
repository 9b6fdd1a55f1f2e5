"""Who carries a study's trials out: Ray's actors, or recorded trainings and a simulated clock."""

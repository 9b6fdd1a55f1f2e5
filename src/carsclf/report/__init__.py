"""The study's questions answered on one page, from run and study folders."""

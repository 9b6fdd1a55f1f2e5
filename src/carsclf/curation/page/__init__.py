"""The cleaning page: findings by rows, decided by mouse and keyboard."""
